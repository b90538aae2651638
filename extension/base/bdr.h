/*-------------------------------------------------------------------------
 * base/bdr.h
 *		Names of the extension.
 *-------------------------------------------------------------------------
 */
#ifndef BDR_BASE_BDR_H
#define BDR_BASE_BDR_H

#include "postgres.h"

#define BDR_VERSION				"0.2.0"
#define BDR_VERSION_NUM			200 /* major * 10000 + minor * 100 + patch */
#define BDR_SCHEMA				"bdr"
#define BDR_EXTENSION			"bdr"
#define BDR_LABEL_PROVIDER		"bdr"
#define BDR_OUTPUT_PLUGIN		"bdr_output"

#endif							/* BDR_BASE_BDR_H */
