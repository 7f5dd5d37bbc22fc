"""Compares what the Autobahn suite says of each agent with what it says of `direct`.

    autobahn_report.py FOLDER

Prints the verdicts by agent and every case that differs; exits 1 when one does,
when an agent lacks a case, and when nothing was tested.
"""

import json
import pathlib
import sys
from collections import Counter

#: Of the echo server through whatever is between; durations may differ.
SAID = ("behavior", "behaviorClose", "remoteCloseCode")


def order(case):
    return [int(part) for part in case.split(".")]


def main(folder):
    index = json.loads((pathlib.Path(folder) / "index.json").read_text())
    direct = index.pop("direct")
    if not direct or not index:
        sys.exit("nothing was tested")
    verdicts = Counter(said["behavior"] for said in direct.values())
    print(f"direct: {len(direct)} cases, {dict(verdicts)}")
    different = 0
    for agent, cases in sorted(index.items()):
        print(f"{agent}: {len(cases)} cases, {dict(Counter(said['behavior'] for said in cases.values()))}")
        for case in sorted(direct, key=order):
            want = [direct[case][what] for what in SAID]
            got = [cases.get(case, {}).get(what) for what in SAID]
            if want != got:
                different += 1
                print(f"  {case}: direct {want}, through {agent} {got}")
    print("identical" if not different else f"{different} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
