/*-------------------------------------------------------------------------
 * settings.h
 *		Every setting, with its bounds.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_SETTINGS_H
#define BDR_SETTINGS_H

#include "postgres.h"

extern void bdr_settings_define(void);

#endif							/* BDR_SETTINGS_H */
