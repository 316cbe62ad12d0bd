"""Runs sudo with each argv of a JSON list on standard input; prints exit status, output and errors of each as JSON."""

import json
import os
import subprocess
import sys

for attempt in json.load(sys.stdin):
    argv = [word.encode("utf-8", "surrogateescape") for word in attempt["argv"]]
    done = subprocess.run(
        [attempt["sudo"], *argv],
        cwd=attempt["cwd"],
        env={**os.environ, **attempt["env"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=15,
    )
    json.dump([done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")], sys.stdout)
    sys.stdout.write("\n")
