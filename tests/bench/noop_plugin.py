"""A policy that decides nothing: the floor under every Python policy of sudo's."""

import sudo


class Noop(sudo.Plugin):
    def check_policy(self, argv, env_add):
        info = ("command=/usr/bin/true", "runas_uid=0", "runas_gid=0", "umask=022", "closefrom=3", "use_pty=true")
        return (sudo.RC.ACCEPT, info, tuple(argv), ("PATH=/usr/bin:/bin",))
