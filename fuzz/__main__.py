"""`python -m fuzz`: attack a server of this checkout, or one that runs, and report."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

import trio

from conformance.targets import Target, remote, started
from fuzz.report import Report
from fuzz.run import ATTACKS, QUICK_GROUPS, Plan, attack_server

FULL_DATAGRAMS = 30_000
QUICK_BELOW = 5_000
RTP_PORTS = (20_000, 22_000)
DEFAULT_RTP_PORTS = "10000-20000"
SETTINGS = {
    "SIP_TCP_ENABLED": "true",
    "VB_MAX_LEGS": "300",
    "RTP_PORT_MIN": str(RTP_PORTS[0]),
    "RTP_PORT_MAX": str(RTP_PORTS[1]),
    "SIP_REFER_CONSULT_TIMEOUT_MS": "500",
    "LOG_LEVEL": "info",
    "INSTANCE_ID": "fuzz",
    "MOQ_ENABLED": "true",
    "MOQ_LISTEN_ADDR": "127.0.0.1:0",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument(
        "--datagrams",
        type=int,
        default=FULL_DATAGRAMS,
        help=f"mutated SIP datagrams; below {QUICK_BELOW} all attacks are short",
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; drawn and shown when absent")
    parser.add_argument(
        "--only", action="append", choices=ATTACKS, help="run just this attack; may be repeated"
    )
    parser.add_argument("--url", help="HTTP address of a server that runs, with --sip")
    parser.add_argument("--sip", help="its UDP address, host:port, on the loopback interface")
    parser.add_argument("--tcp", help="its TCP address, when it has one")
    parser.add_argument(
        "--rtp-ports", default=DEFAULT_RTP_PORTS, help="its RTP_PORT_MIN and RTP_PORT_MAX, first-last"
    )
    parser.add_argument("--log", type=Path, help="where the server's output is kept")
    return parser.parse_args()


async def _run(options: argparse.Namespace, plan: Plan) -> Report:
    if options.url:
        target = remote(options.url, options.sip, recordings=None, secret=None)
        if options.tcp:
            host, _, port = options.tcp.rpartition(":")
            target.sip["tcp"] = (host.strip("[]"), int(port))
        return await attack_server(target, plan)
    with tempfile.TemporaryDirectory() as home:
        async with started(Path(home), SETTINGS) as target:
            try:
                return await attack_server(target, plan)
            finally:
                _keep_log(options.log, target)


def _keep_log(path: Path | None, target: Target) -> None:
    if path is not None:
        path.write_bytes(target.log)


def main() -> int:
    """Run; 0 when nothing was violated, else 1."""
    options = _arguments()
    seed = options.seed if options.seed is not None else secrets.randbelow(1_000_000)
    quick = options.datagrams < QUICK_BELOW
    every = QUICK_GROUPS if quick else [(name,) for name in ATTACKS]
    first, _, last = options.rtp_ports.partition("-")
    ports = (int(first), int(last)) if options.url else RTP_PORTS
    groups = [(name,) for name in options.only] if options.only else every
    plan = Plan(options.datagrams, seed, quick, ports, groups)
    print(f"fuzz: seed {seed}", flush=True)
    report = trio.run(_run, options, plan)
    print(report.summary(), flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
