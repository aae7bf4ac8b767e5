"""`python -m ops.bench`: everything that is measured, on one machine, in one run, which ends by itself."""

import argparse

from ops.bench.audits import print_audits
from ops.bench.capacity import write_capacity
from ops.bench.measuring import Found, measure
from ops.bench.overload import print_overload
from ops.bench.payrolls import print_payrolls
from ops.bench.report import print_report
from ops.bench.scenarios import PARTS
from ops.bench.servers import service

OVERLOAD, AUDITS, PAYOUTS, CAPACITY = "overload", "audits", "payouts", "capacity"
MEASURED = [*(part.name for part in PARTS), OVERLOAD, AUDITS, PAYOUTS]
NAMES = [*MEASURED, CAPACITY]


def parts_of(text: str) -> list[str]:
    """The parts that `--only` names, separated by commas."""
    names = text.split(",")
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"there is no part {name}: parts are {', '.join(NAMES)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--only", type=parts_of, default=MEASURED, help=f"some of {','.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=4, help="how often each row is measured")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time")
    arguments = parser.parse_args()
    if CAPACITY in arguments.only:
        write_capacity(arguments.seconds)
    if arguments.only == [CAPACITY]:
        return
    if OVERLOAD in arguments.only:
        with service() as place:
            print_overload(place.grpc, place.parent, arguments.seconds)
    if PAYOUTS in arguments.only:
        print_payrolls()
    if AUDITS in arguments.only:
        print_audits()
    parts = [part for part in PARTS if part.name in arguments.only]
    found: Found = {}
    try:
        for part in measure(parts, arguments.rounds, arguments.seconds):
            found |= part
    finally:
        if parts:
            print_report(found)  # also of a run that was interrupted: the parts before that are whole


if __name__ == "__main__":
    main()
