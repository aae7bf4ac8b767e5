"""Makes `python -m app.cli` the same as `balance`, also where no script is installed."""

from app.cli.main import main

main(prog_name="balance")
