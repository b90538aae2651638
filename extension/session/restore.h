/*-------------------------------------------------------------------------
 * session/restore.h
 *		Sessions in which a join reads or restores what belongs to users.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_RESTORE_H
#define BDR_SESSION_RESTORE_H

extern bool bdr_internal_restore;	/* the setting, fixed when a session starts */
extern void bdr_restore_assign(bool newval, void *extra);

/*
 * session/restore_code.c: code of users in such a session.  It runs as its owner,
 * and does not call what is volatile as a superuser.
 */
typedef struct BdrRestoreCode
{
	int			statements;		/* utility statements under way */
	bool		trusted;		/* its expressions are a superuser's */
	int			guc_level;		/* of the statement; 0: none */
} BdrRestoreCode;

extern BdrRestoreCode bdr_restore_code;
extern void bdr_restore_code_init(void);
extern void bdr_restore_code_forget(void);

#endif							/* BDR_SESSION_RESTORE_H */
