// SPDX-License-Identifier: Apache-2.0
//
// What tests need from C: handlers to chain with, raw faults, small system calls.

#ifndef PGW_CTEST_SUPPORT_H
#define PGW_CTEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#endif
