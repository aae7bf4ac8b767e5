"""`balance backup` and `balance restore`: copies of a whole store, proven before they are used."""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import click
import msgspec

from app.cli.store import NoStoreError, with_store
from app.config import Settings
from app.services.faults import BalanceFault
from app.services.verification import Report
from app.storage.auditing import Auditor
from app.storage.backends.valkey import ValkeyBackend
from app.storage.copying import (
    COPY_FILE,
    MANIFEST_FILE,
    BadCopyError,
    Manifest,
    check_file,
    copy_store,
    digest_of,
    identity,
    lay_out,
)

Result = TypeVar("Result")

_STORE = "store"


class Checked(msgspec.Struct, rename="camel", omit_defaults=True):
    """What was found in a copy: `ok` when it is the store that its manifest says, and every chip is there."""

    ok: bool
    backup: Manifest
    commits: int
    problems: list[str]
    report: Report
    restored_to: str = ""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The manifest as one line of JSON.")
def backup(folder: Path, *, as_json: bool) -> None:
    """Copy the whole store, as it is at one moment, into the new FOLDER.

    The service goes on meanwhile. Reads the store of REDIS_URL, on any machine, or that in DATA_DIR, whether
    the service runs or not. The server needs the memory of a fork. Prove the copy with `balance restore
    --check`.
    """
    if folder.exists():
        raise NoStoreError(f"{folder} is there already; a backup never replaces another")
    settings = Settings.from_environment(os.environ)
    manifest = _told(lambda: with_store(settings, lambda url: _take(url, folder)))
    if as_json:
        click.echo(msgspec.json.encode(manifest))
    else:
        click.echo(f"{folder}: {manifest.bytes:,} bytes, at least {manifest.commits:,} commits")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Only prove that the backup is whole; nothing is kept.")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="Folder of a server that is stopped and has no data; that in DATA_DIR when not given.",
)
@click.option("--json", "as_json", is_flag=True, help="What was found as one line of JSON.")
def restore(folder: Path, into: Path | None, *, check: bool, as_json: bool) -> None:
    """Prove that the backup in FOLDER is whole, then lay it out for a server that has no data.

    A server of its own starts on the copy, and every balance, hold, ledger and total is recomputed. Exit code
    0 when all is well, 1 when something is not (nothing is then restored), 2 when it could not be looked at.
    """
    settings = Settings.from_environment(os.environ)
    target = (into or settings.data_dir / _STORE).absolute()
    if not check and target.exists() and any(target.iterdir()):
        raise NoStoreError(f"{target} is not empty: a restore never replaces data")
    found = _told(lambda: _check(settings, folder))
    if found.ok and not check:
        _told(lambda: _put(folder / COPY_FILE, target))
        found.restored_to = str(target)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _print(found)
    sys.exit(0 if found.ok else 1)


def _told(do: Callable[[], Result]) -> Result:
    try:
        return do()
    except (BalanceFault, BadCopyError, OSError) as error:
        raise NoStoreError(str(error)) from error


def _take(url: str, folder: Path) -> Manifest:
    draft = folder.with_name(f"{folder.name}.unfinished-{os.getpid()}")
    with closing(ValkeyBackend(url)) as backend:
        store_id, layout, partitions, commits = identity(backend)
    draft.mkdir(mode=0o700, parents=True)
    try:
        copy_store(url, draft / COPY_FILE)
        manifest = Manifest(
            v=1,
            store_id=store_id,
            layout=layout,
            partitions=partitions,
            commits=commits,
            taken_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            bytes=(draft / COPY_FILE).stat().st_size,
            sha256=digest_of(draft / COPY_FILE),
        )
        (draft / MANIFEST_FILE).write_bytes(msgspec.json.encode(manifest) + b"\n")
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def _check(settings: Settings, folder: Path) -> Checked:
    manifest = check_file(folder)
    with TemporaryDirectory(prefix="balance-restore-") as throw_away:
        store = Path(throw_away) / _STORE
        store.mkdir(mode=0o700)
        lay_out(folder / COPY_FILE, store)
        at_rest = replace(settings, redis_url=None, data_dir=Path(throw_away))
        return with_store(at_rest, lambda url: _audit(url, manifest))


def _audit(url: str, manifest: Manifest) -> Checked:
    with closing(ValkeyBackend(url)) as backend:
        store_id, layout, partitions, commits = identity(backend)
        report = Auditor(backend, partitions).run()
    problems = [
        f"the copy has {what} {found}, its manifest says {said}"
        for what, found, said in (
            ("store id", store_id, manifest.store_id),
            ("layout", layout, manifest.layout),
            ("partitions", partitions, manifest.partitions),
        )
        if found != said
    ]
    if commits < manifest.commits:
        problems.append(f"the copy has {commits} commits, its manifest says at least {manifest.commits}")
    return Checked(
        ok=report.ok and not problems, backup=manifest, commits=commits, problems=problems, report=report
    )


def _put(copy: Path, target: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lay_out(copy, target)
    except BaseException:
        shutil.rmtree(target / "appendonlydir", ignore_errors=True)
        raise


def _print(found: Checked) -> None:
    report = found.report
    click.echo(
        f"{found.commits:,} commits, {report.accounts:,} accounts, {report.entries:,} ledger entries,"
        f" taken {found.backup.taken_at}"
    )
    for problem in found.problems:
        click.echo(problem)
    for finding in report.findings:
        click.echo(f"{finding.what} at {finding.where}: expected {finding.expected}, found {finding.found}")
    if found.restored_to:
        click.echo(f"Restored into {found.restored_to}.")
    click.echo("Every chip is accounted for." if found.ok else "NOT AS IT MUST BE: nothing was restored.")
