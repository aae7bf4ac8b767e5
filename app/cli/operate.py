"""Everyday commands of ops: `balance status | pause | resume | stops | adjust | pot | house | ops`."""

import sys
from hashlib import sha256
from typing import Any

import click

from app.cli.ops_service import Deed, OpsService, deed_options, ops_options, table

SUBJECTS_SHOWN = 3


@click.command()
@ops_options
def status(*, service: OpsService) -> None:
    """Show who works, what waits, what is parked, and whether the totals add up.

    Exit code 1 when they do not.
    """
    found = service.get("status")
    service.show(found, _status_told(found))
    sys.exit(1 if found["supply"]["difference"] else 0)


def _status_told(found: dict[str, Any]) -> str:
    paused, leader, letters = found.get("paused"), found["leader"], found["deadLetters"]
    rows = [("at", found["at"])]
    rows.append(("paused", f"by {paused['by']} since {paused['at']}: {paused['why']}" if paused else "no"))
    rows += [(f"worker {each['worker']}", f"{each['partitions']} partitions") for each in found["workers"]]
    rows.append(("front ends", str(len(found["frontEnds"]))))
    rows.append(("without an owner", f"{len(found['unowned'])} of {found['partitions']} partitions"))
    rows.append(
        ("scheduler", f"{leader['name']} since {leader['since']}" if leader["name"] else "none leads")
    )
    for lane in found["lanes"]:
        oldest = f", the oldest for {lane['oldestMs']} ms" if lane["messages"] else ""
        rows.append((f"queued, {lane['lane']}", f"{lane['messages']} messages{oldest}"))
    for stop in found["stops"]:
        rows.append((f"stopped: {stop['kind']}", f"by worker {stop['worker']}: {stop['error']}"))
    rows.append(("dead letters", f"{letters['count']}, {letters['chips']} chips at stake"))
    supply = found["supply"]
    rows.append(("deposits - withdrawals", str(supply["deposits"] - supply["withdrawals"])))
    rows.append(("difference", str(supply["difference"])))
    problems = [f"\n! {each}" for each in found["problems"]]
    return table(rows) + "".join(problems)


@click.command()
@deed_options
def pause(*, service: OpsService, deed: Deed) -> None:
    """Refuse new commands, on all front ends within about a second; what is queued is carried out."""
    _switch(service, "pause", deed)


@click.command()
@deed_options
def resume(*, service: OpsService, deed: Deed) -> None:
    """Take commands again."""
    _switch(service, "resume", deed)


def _switch(service: OpsService, what: str, deed: Deed) -> None:
    answer = service.post(what, body=deed)
    is_so = "would be" if deed["dryRun"] else "is"
    state = "paused" if answer["paused"] else "taking commands"
    text = f"The service {is_so} {state}{'' if answer['changed'] else ', as it was before'}."
    service.show(answer, text)


@click.group()
def stops() -> None:
    """Safety stops: kinds of commands that workers take no more, for too many were faults."""


@stops.command()
@click.argument("kind", default="", metavar="[KIND]")
@deed_options
def clear(kind: str, *, service: OpsService, deed: Deed) -> None:
    """Have workers take a kind again, or all. A restart of the workers does the same."""
    body = deed | ({"kind": kind} if kind else {})
    answer = service.post("stops", "clear", body=body)
    rows = [("WORKER", "KIND", "FAULTS", "ERROR")]
    rows += [
        (each["worker"], each["kind"], f"{each['faults']} of {each['of']}", each["error"])
        for each in answer["stops"]
    ]
    service.show(answer, table(rows) if answer["stops"] else "Nothing is stopped.")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("account_id", metavar="ACCOUNT")
@click.argument("change", type=int, metavar="CHIPS")
@click.option("--corrects", required=True, metavar="ID", help="The transaction that this corrects.")
@click.option("--key", help="Idempotency key; made from the other arguments where there is none.")
@deed_options
def adjust(  # each is an option
    account_id: str, change: int, *, corrects: str, key: str | None, service: OpsService, deed: Deed
) -> None:
    """Correct a transaction by a new one of signed CHIPS, like 40 or -40, that points to it.

    The same correction of the same transaction is done once; for a second one give a key.
    """
    key = key or f"adjust-{sha256(f'{account_id}|{change}|{corrects}'.encode()).hexdigest()}"
    body = deed | {"change": change, "corrects": corrects}
    show_order(service, service.post("accounts", account_id, "adjust", body=body, key=key))


@click.group()
def pot() -> None:
    """Pots of hands."""


@pot.command()
@click.argument("table_id", metavar="TABLE")
@click.argument("hand_id", metavar="HAND")
@deed_options
def cancel(table_id: str, hand_id: str, *, service: OpsService, deed: Deed) -> None:
    """Put the pot's chips back in play of those who put them in."""
    show_order(service, service.post("tables", table_id, "pots", hand_id, "cancel", body=deed))


@click.group()
def house() -> None:
    """The house: what the rake has made."""


@house.command(name="show")
@ops_options
def house_show(*, service: OpsService) -> None:
    """Show the house accounts and what they hold."""
    found = service.get("house")
    rows = [("ACCOUNT", "BALANCE")]
    rows += [(each["accountId"], str(each["balance"])) for each in found["accounts"]]
    service.show(found, table([*rows, ("total", str(found["total"]))]))


@click.group()
def ops() -> None:
    """What ops did."""


@ops.command()
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--before", type=int, help="Lines in front of this one.")
@click.option("--verify", is_flag=True, help="Follow the hash chain from its first line; 1 where it breaks.")
@ops_options
def log(limit: int, before: int | None, *, verify: bool, service: OpsService) -> None:
    """Show the ops log, newest last, or verify its chain."""
    if verify:
        report = service.get("log", "verification")
        text = (
            report["problem"]
            or f"{report['lines']} lines, each follows the one before; head {report['head']}"
        )
        service.show(report, text)
        sys.exit(0 if report["ok"] else 1)
    found = service.get("log", limit=limit, before=before)
    rows = [("LINE", "AT", "WHO", "WHAT", "OUTCOME", "ABOUT", "WHY")]
    for line in reversed(found["lines"]):
        about = " ".join(line["subjects"][:SUBJECTS_SHOWN]) or "-"
        if more := len(line["subjects"][SUBJECTS_SHOWN:]):
            about += f" and {more} more"
        rows.append(
            (str(line["seq"]), line["at"], line["who"], line["what"], line["outcome"], about, line["why"])
        )
    service.show(found, table(rows))


def show_order(service: OpsService, answer: dict[str, Any]) -> None:
    """Tell how a command of ops ended; exit code 1 when a dry run says that it would be refused."""
    would = "would be " if answer["dryRun"] else ""
    told = [answer["outcome"], answer["transactionId"], answer["detail"]]
    service.show(answer, would + " ".join(filter(None, told)))
    sys.exit(0 if answer["outcome"] == "OK" else 1)
