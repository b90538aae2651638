/*-------------------------------------------------------------------------
 * base/libpq.h
 *		libpq/libpq.h without the headers of other libraries.
 *
 * NOTES
 *		It asks for those of GSSAPI and OpenSSL, for members of struct Port
 *		that nothing here looks at.  Building should not need them.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_LIBPQ_H
#define BDR_BASE_LIBPQ_H

#include "postgres.h"

#undef ENABLE_GSS
#undef USE_OPENSSL

#include "libpq/libpq.h"

#endif							/* BDR_BASE_LIBPQ_H */
