/*-------------------------------------------------------------------------
 * session/attribute_version.h
 *		Options of columns that belong to the server that was dumped.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SESSION_ATTRIBUTE_VERSION_H
#define BDR_SESSION_ATTRIBUTE_VERSION_H

extern void bdr_attribute_version_init(void);

#endif							/* BDR_SESSION_ATTRIBUTE_VERSION_H */
