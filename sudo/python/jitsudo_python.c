/*
 * The carrier: the one policy plugin that sudo.conf names. It loads sudo's own Python plugin host, python_plugin.so, and
 * hands its calls to it, with one thing done first.
 *
 * CPython, started by that host without a program name, looks for `python3` on the caller's PATH to find its standard
 * library, as root and before any Python of ours runs: the caller would choose root's code. So a hook answers for PATH in
 * this process. sudo registers the hooks of a plugin before it opens any; one plugin for both means that nobody can
 * configure the host without the guard. The policy still sees the caller's own PATH, in user_env.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <sudo_plugin.h>

#define HOST "/usr/libexec/sudo/python_plugin.so"
#define SAFE_PATH "/usr/bin:/bin"
#define WAY_OUT "; reinstall jitsudo, or as root take its line out of /etc/sudo.conf"

extern struct policy_plugin jitsudo_python __attribute__((visibility("default")));

static bool guarded;

static int answer_path(const char *name, char **value, void *closure)
{
    static char safe_path[] = SAFE_PATH;

    (void)closure;
    if (strcmp(name, "PATH") != 0)
        return SUDO_HOOK_RET_NEXT;
    *value = safe_path;
    return SUDO_HOOK_RET_STOP;
}

static struct sudo_hook hooks[] = {
    {SUDO_HOOK_VERSION, SUDO_HOOK_GETENV, (sudo_hook_fn_t)answer_path, NULL},
};

static void register_hooks(int version, int (*register_hook)(struct sudo_hook *hook))
{
    guarded = SUDO_API_VERSION_GET_MAJOR(version) == SUDO_HOOK_VERSION_MAJOR && register_hook(&hooks[0]) == 0;
}

static void deregister_hooks(int version, int (*deregister_hook)(struct sudo_hook *hook))
{
    (void)version;
    if (guarded)
        deregister_hook(&hooks[0]);
    guarded = false;
}

/* What sudo asks of a plugin file that it loads itself: nobody but root may have written it. */
static bool only_root_writes(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static struct policy_plugin *load_host(const char **why)
{
    struct policy_plugin *host = NULL;
    void *handle;

    if (!only_root_writes(HOST)) {
        *why = "it is missing, not root's, or writable by others";
        return NULL;
    }
    /* Global, as sudo itself loads plugins: Python's extension modules take libpython's symbols from there. */
    if ((handle = dlopen(HOST, RTLD_LAZY | RTLD_GLOBAL)) != NULL)
        host = dlsym(handle, "python_policy");
    if (host == NULL) {
        *why = dlerror();
    } else if (host->type != SUDO_POLICY_PLUGIN || SUDO_API_VERSION_GET_MAJOR(host->version) != SUDO_API_VERSION_MAJOR ||
               host->open == NULL || host->check_policy == NULL) {
        *why = "it holds no policy plugin of this sudo's interface";
        host = NULL;
    }
    return host;
}

static int open_policy(unsigned int version, sudo_conv_t conversation, sudo_printf_t plugin_printf,
                       char *const settings[], char *const user_info[], char *const user_env[],
                       char *const plugin_options[], const char **errstr)
{
    const char *why = "sudo did not take the hook that guards PATH";
    struct policy_plugin *host = guarded ? load_host(&why) : NULL;
    void (*size_exceeded)(int) = signal(SIGXFSZ, SIG_DFL);
    int status;

    if (host == NULL) {
        plugin_printf(SUDO_CONV_ERROR_MSG, "jitsudo: cannot use %s: %s%s\n", HOST, why != NULL ? why : "unknown error",
                      WAY_OUT);
        if (errstr != NULL && SUDO_API_VERSION_GET_MINOR(version) >= 15)
            *errstr = "jitsudo: the Python plugin host cannot be used";
        return -1;
    }
    host->event_alloc = jitsudo_python.event_alloc; /* sudo filled it in here, where it knows of */
    status = host->open(version, conversation, plugin_printf, settings, user_info, user_env, plugin_options, errstr);
    /* CPython ignores it from here on, and sudo does not put it back for the command, as it does SIGPIPE. */
    signal(SIGXFSZ, size_exceeded);
    /* Only now: open clears the pointer of each call that the Python class does not have, and sudo asks for NULL. */
    jitsudo_python.close = host->close;
    jitsudo_python.show_version = host->show_version;
    jitsudo_python.check_policy = host->check_policy;
    jitsudo_python.list = host->list;
    jitsudo_python.validate = host->validate;
    jitsudo_python.invalidate = host->invalidate;
    jitsudo_python.init_session = host->init_session;
    return status;
}

/* sudo refuses a plugin without check_policy when it loads it; this one stands until the host's takes its place. */
static int refuse(int argc, char *const argv[], char *env_add[], char **command_info[], char **argv_out[],
                  char **user_env_out[], const char **errstr)
{
    (void)argc, (void)argv, (void)env_add, (void)command_info, (void)argv_out, (void)user_env_out, (void)errstr;
    return -1;
}

static void close_nothing(int exit_status, int error)
{
    (void)exit_status, (void)error;
}

struct policy_plugin jitsudo_python = {
    .type = SUDO_POLICY_PLUGIN,
    .version = SUDO_API_VERSION,
    .open = open_policy,
    .close = close_nothing,
    .check_policy = refuse,
    .register_hooks = register_hooks,
    .deregister_hooks = deregister_hooks,
};
