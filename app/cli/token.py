"""`balance token`: signs a token with the shared secret, for people who have none of their own yet.

Players and services get theirs from whoever signs the platform's tokens.
"""

import os

import click

from app.config import Problem, Settings, SettingsError
from app.services.access import OPS_SCOPE, SERVICE_SCOPE
from app.services.tokens import mint


@click.command()
@click.argument("subject")
@click.option(
    "--scope", "scopes", type=click.Choice([OPS_SCOPE, SERVICE_SCOPE]), multiple=True, help="Any number."
)
@click.option("--minutes", type=click.IntRange(1, 24 * 60), default=60, show_default=True, help="Its life.")
def token(subject: str, *, scopes: tuple[str, ...], minutes: int) -> None:
    """Print a token for SUBJECT: who it is that ops log lines name, or the account that a player acts on.

    It is signed with JWT_HS256_SECRET, or that in JWT_HS256_SECRET_FILE: whoever has it is whom they like.
    """
    settings = Settings.from_environment(os.environ)
    if settings.jwt_hs256_secret is None:
        raise SettingsError([Problem(("JWT_HS256_SECRET",), "it is what a token is signed with")])
    click.echo(mint(settings, subject, scopes, lifetime_seconds=minutes * 60))
