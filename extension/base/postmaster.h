/*-------------------------------------------------------------------------
 * base/postmaster.h
 *		What the postmaster says of itself; for both libraries.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_POSTMASTER_H
#define BDR_BASE_POSTMASTER_H

#include <fcntl.h>
#include <unistd.h>

#include "utils/pidfile.h"

/*
 * Has a stop been asked for?  In a smart one sessions may go on for long.  The
 * last line of postmaster.pid tells, which pg_ctl reads, too.
 */
static inline bool
bdr_postmaster_is_stopping(void)
{
	char		text[MAXPGPATH * 4];
	char	   *line = text;
	ssize_t		len;
	int			fd = open("postmaster.pid", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = '\0';
	for (int i = 1; i < LOCK_FILE_LINE_PM_STATUS && line != NULL; i++)
	{
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return line != NULL && strncmp(line, PM_STATUS_STOPPING, strlen(PM_STATUS_STOPPING)) == 0;
}

#endif							/* BDR_BASE_POSTMASTER_H */
