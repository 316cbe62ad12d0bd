/*
 * A name service for tests, that is slow, wrong or dead on purpose: nsswitch.conf(5) calls it `jitsudotest`.
 *
 * Files in /run/jitsudotest, read anew at every call:
 *   passwd  NAME UID ENTRY      asked for NAME or UID it answers ENTRY, a line of passwd(5), right or wrong
 *   group   NAME GID ENTRY      the same, a line of group(5)
 *   slow    KEY MILLISECONDS [PROGRAM]
 *                               asked for KEY (a name, a number, or * for any) it takes as long; for `dead`: until
 *                               that line has gone. With a program's name only when that one asks: the system bus
 *                               and the like, which every directory slows down alike, are not what is tested.
 */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "/run/jitsudotest/"
#define LINE 65536
#define FIELDS 7

/* By hand: strtoul has other symbols in newer C libraries, and this is to load into any. */
static unsigned number(const char *text)
{
	unsigned value = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (unsigned)(*text - '0');
	return value;
}

/* The next line of a file as two words and the rest; 0 at the end. */
static int next(FILE *file, char *line, char **first, char **second, char **rest)
{
	if (fgets(line, LINE, file) == NULL)
		return 0;
	line[strcspn(line, "\n")] = '\0';
	char *save = NULL;
	*first = strtok_r(line, " ", &save);
	*second = strtok_r(NULL, " ", &save);
	*rest = strtok_r(NULL, "\n", &save);
	return *first != NULL && *second != NULL;
}

static int is_program(const char *name)
{
	char line[64] = "";
	FILE *file = fopen("/proc/self/comm", "re");
	if (file == NULL)
		return 0;
	if (fgets(line, sizeof line, file) != NULL)
		line[strcspn(line, "\n")] = '\0';
	fclose(file);
	return strcmp(line, name) == 0;
}

static void take_time(const char *key)
{
	char line[LINE], *first, *second, *rest;
	for (unsigned waited = 0, wanted = 1; waited < wanted; waited += 20) {
		FILE *file = fopen(FOLDER "slow", "re");
		if (file == NULL)
			return;
		wanted = 0;
		while (next(file, line, &first, &second, &rest))
			if ((strcmp(first, key) == 0 || strcmp(first, "*") == 0) && (rest == NULL || is_program(rest)))
				wanted = strcmp(second, "dead") == 0 ? waited + 21 : number(second);
		fclose(file);
		if (waited < wanted)
			usleep(20 * 1000);
	}
}

/* The entry for a key, in `line`; NULL if there is none. */
static char *entry(const char *path, const char *key, char *line)
{
	char *first, *second, *rest, *found = NULL;
	FILE *file = fopen(path, "re");
	if (file == NULL)
		return NULL;
	while (found == NULL && next(file, line, &first, &second, &rest))
		if (strcmp(first, key) == 0 || strcmp(second, key) == 0)
			found = rest;
	fclose(file);
	return found;
}

/* Copies an entry into the caller's buffer and cuts it at its colons. */
static enum nss_status cut(const char *text, char *buffer, size_t size, char *fields[], int *errnop)
{
	if (strlen(text) + 1 > size) {
		*errnop = ERANGE;
		return NSS_STATUS_TRYAGAIN;
	}
	strcpy(buffer, text);
	for (int index = 0; index < FIELDS; index++) {
		fields[index] = buffer == NULL ? "" : strsep(&buffer, ":");
	}
	return NSS_STATUS_SUCCESS;
}

static enum nss_status user(const char *key, struct passwd *found, char *buffer, size_t size, int *errnop)
{
	char line[LINE], *fields[FIELDS];
	take_time(key);
	char *text = entry(FOLDER "passwd", key, line);
	if (text == NULL) {
		*errnop = ENOENT;
		return NSS_STATUS_NOTFOUND;
	}
	enum nss_status status = cut(text, buffer, size, fields, errnop);
	if (status != NSS_STATUS_SUCCESS)
		return status;
	*found = (struct passwd){
		.pw_name = fields[0], .pw_passwd = fields[1], .pw_uid = number(fields[2]), .pw_gid = number(fields[3]),
		.pw_gecos = fields[4], .pw_dir = fields[5], .pw_shell = fields[6],
	};
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_jitsudotest_getpwnam_r(const char *name, struct passwd *found, char *buffer, size_t size, int *errnop)
{
	return user(name, found, buffer, size, errnop);
}

enum nss_status _nss_jitsudotest_getpwuid_r(uid_t uid, struct passwd *found, char *buffer, size_t size, int *errnop)
{
	char key[16];
	snprintf(key, sizeof key, "%u", uid);
	return user(key, found, buffer, size, errnop);
}

static enum nss_status group(const char *key, struct group *found, char *buffer, size_t size, int *errnop)
{
	char line[LINE], *fields[FIELDS];
	take_time(key);
	char *text = entry(FOLDER "group", key, line);
	if (text == NULL) {
		*errnop = ENOENT;
		return NSS_STATUS_NOTFOUND;
	}
	/* The list of members goes in front, where it is aligned; it is always empty: initgroups answers for them. */
	size_t room = (-(size_t)buffer % sizeof(char *)) + sizeof(char *);
	if (size < room) {
		*errnop = ERANGE;
		return NSS_STATUS_TRYAGAIN;
	}
	char **members = (char **)(buffer + room - sizeof(char *));
	*members = NULL;
	enum nss_status status = cut(text, buffer + room, size - room, fields, errnop);
	if (status != NSS_STATUS_SUCCESS)
		return status;
	*found = (struct group){
		.gr_name = fields[0], .gr_passwd = fields[1], .gr_gid = number(fields[2]), .gr_mem = members,
	};
	return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_jitsudotest_getgrnam_r(const char *name, struct group *found, char *buffer, size_t size, int *errnop)
{
	return group(name, found, buffer, size, errnop);
}

enum nss_status _nss_jitsudotest_getgrgid_r(gid_t gid, struct group *found, char *buffer, size_t size, int *errnop)
{
	char key[16];
	snprintf(key, sizeof key, "%u", gid);
	return group(key, found, buffer, size, errnop);
}

/* Whether `name` is in a list between commas. */
static int lists(const char *members, const char *name)
{
	size_t length = strlen(name);
	for (; members != NULL && *members != '\0'; members += strcspn(members, ","), members += *members == ',')
		if (strcspn(members, ",") == length && strncmp(members, name, length) == 0)
			return 1;
	return 0;
}

enum nss_status _nss_jitsudotest_initgroups_dyn(const char *name, gid_t own, long *start, long *size, gid_t **groups,
						long limit, int *errnop)
{
	char line[LINE], *first, *second, *rest;
	take_time(name);
	FILE *file = fopen(FOLDER "group", "re");
	if (file == NULL)
		return NSS_STATUS_NOTFOUND;
	while (next(file, line, &first, &second, &rest)) {
		char *members = rest == NULL ? NULL : strrchr(rest, ':');
		if (members == NULL || !lists(members + 1, name) || number(second) == own)
			continue;
		if (*start == *size) {
			if (limit > 0 && *size >= limit)
				break;
			gid_t *more = realloc(*groups, (size_t)*size * 2 * sizeof(gid_t));
			if (more == NULL) {
				fclose(file);
				*errnop = ENOMEM;
				return NSS_STATUS_TRYAGAIN;
			}
			*groups = more;
			*size *= 2;
		}
		(*groups)[(*start)++] = number(second);
	}
	fclose(file);
	return NSS_STATUS_SUCCESS;
}
