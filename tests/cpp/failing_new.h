#pragma once

// This thread's allocation that fails, counted from 0; -1: none.
extern thread_local long failing_new;
