/*-------------------------------------------------------------------------
 * session/sequence/method.c
 *		The table of kinds.
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/settings.h"
#include "session/sequence/method.h"

static const BdrSequenceMethod local_method = {.name = "local",.letter = BDR_SEQUENCE_LOCAL};

static const BdrSequenceMethod *const methods[] = {
	&local_method,
	&bdr_snowflakeid_method,
	&bdr_timeshard_method,
	&bdr_galloc_method
};

const BdrSequenceMethod *
bdr_sequence_method(char letter)
{
	for (int i = 0; i < lengthof(methods); i++)
	{
		if (methods[i]->letter == letter)
			return methods[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("unknown kind of sequence '%c'", letter),
			 errhint("It is one of a newer version of bdr; install that version on this node, too.")));
}

const BdrSequenceMethod *
bdr_sequence_method_named(const char *name)
{
	for (int i = 0; i < lengthof(methods); i++)
	{
		if (strcmp(methods[i]->name, name) == 0)
			return methods[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of sequence \"%s\"", name),
			 errhint("Use local, snowflakeid, timeshard or galloc.")));
}

/*
 * "distributed" is the first that fits, and a kind that does not fit leaves the
 * sequence local.
 */
const BdrSequenceMethod *
bdr_sequence_method_default(const FormData_pg_sequence *form)
{
	const BdrSequenceMethod *wanted;

	if (bdr_default_sequence_kind != BDR_SEQUENCE_DISTRIBUTED)
	{
		wanted = bdr_sequence_method(bdr_default_sequence_kind);
		return bdr_sequence_is_local(wanted) || wanted->unfit(form) == NULL ? wanted : &local_method;
	}
	if (bdr_snowflakeid_method.unfit(form) == NULL)
		return &bdr_snowflakeid_method;
	return bdr_galloc_method.unfit(form) == NULL ? &bdr_galloc_method : &local_method;
}
