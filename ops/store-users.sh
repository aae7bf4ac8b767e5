#!/bin/sh
# Writes the server's users with their passwords, as hashes: store-users.sh USERS.acl SECRETS > users.acl
# SECRETS is a folder with one file for each user, named as it is, that holds the password. A user without a
# file cannot log in.
set -eu
umask 077
while read -r word name rest; do
    if [ -r "$2/$name" ]; then
        hash=$(tr -d '\r\n' < "$2/$name" | sha256sum | cut -d ' ' -f 1)
        rest=$(printf '%s' "$rest" | sed "s/resetpass/resetpass #$hash/")
    fi
    printf '%s %s %s\n' "$word" "$name" "$rest"
done < "$1"
