#!/bin/sh
# Makes the secrets of a deployment, once: secrets.sh FOLDER [STORE_HOST:PORT]
# For each user of the store its password (FOLDER/USER) and, for our processes, the REDIS_URL that holds it
# (FOLDER/USER.url); the secret that tokens are signed with (FOLDER/jwt); Grafana's password (FOLDER/grafana).
# What is there already is kept. Only its owner may enter the folder; the files are readable, since containers, whose
# processes are other users, are given each file by itself.
set -eu
umask 022
mkdir -p "$1"
chmod 700 "$1"
random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
for name in jwt grafana admin replica sentinel frontend ops worker scheduler auditor metrics; do
    [ -s "$1/$name" ] || random > "$1/$name"
done
for user in admin frontend ops worker scheduler auditor metrics; do
    [ -s "$1/$user.url" ] || printf 'redis://%s:%s@%s/0' "$user" "$(cat "$1/$user")" "${2:-store:6379}" > "$1/$user.url"
done
