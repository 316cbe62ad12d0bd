"""In a person's login session: runs one command a line of standard input, answers with its nanoseconds and exit status."""

import json
import os
import sys
import time

for line in sys.stdin:
    argv = json.loads(line)
    started = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, os.environ)
    _, status = os.waitpid(pid, 0)
    print(json.dumps([time.perf_counter_ns() - started, os.waitstatus_to_exitcode(status)]), flush=True)
