/*-------------------------------------------------------------------------
 * base/wal_message.h
 *		Messages to the peers, in WAL.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_WAL_MESSAGE_H
#define BDR_BASE_WAL_MESSAGE_H

extern void bdr_wal_message_write(const char *prefix, const char *content, Size size);

#endif							/* BDR_BASE_WAL_MESSAGE_H */
