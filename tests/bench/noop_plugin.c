/* A policy that decides nothing: the floor under every native policy of sudo's. */
#include <stddef.h>

#include <sudo_plugin.h>

static char *info[] = {"command=/usr/bin/true", "runas_uid=0", "runas_gid=0", "umask=022", "closefrom=3", "use_pty=true", NULL};
static char *env[] = {"PATH=/usr/bin:/bin", NULL};

static int open_policy(unsigned int version, sudo_conv_t converse, sudo_printf_t print, char *const settings[],
    char *const user_info[], char *const user_env[], char *const options[], const char **error)
{
    (void)version, (void)converse, (void)print, (void)settings, (void)user_info, (void)user_env, (void)options, (void)error;
    return 1;
}

static int check_policy(int argc, char *const argv[], char *env_add[], char **info_out[], char **argv_out[],
    char **env_out[], const char **error)
{
    (void)argc, (void)env_add, (void)error;
    *info_out = info;
    *argv_out = (char **)argv;
    *env_out = env;
    return 1;
}

struct policy_plugin noop_native = {
    .type = SUDO_POLICY_PLUGIN, .version = SUDO_API_VERSION, .open = open_policy, .check_policy = check_policy};
