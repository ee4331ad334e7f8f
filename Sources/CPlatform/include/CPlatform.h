// SPDX-License-Identifier: Apache-2.0
//
// CPlatform: what Swift cannot import or must not do itself. Kernel calls, the fault guard, checked copy. No policy.

#ifndef PGW_CPLATFORM_H
#define PGW_CPLATFORM_H

#include "pgw_checksum.h"
#include "pgw_compare.h"
#include "pgw_copy.h"
#include "pgw_guard.h"
#include "pgw_observe.h"
#include "pgw_processes.h"
#include "pgw_scan.h"
#include "pgw_shared.h"
#include "pgw_storage.h"
#include "pgw_stream.h"
#include "pgw_system.h"
#include "pgw_thread.h"

#endif
