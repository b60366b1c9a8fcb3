"""Many RAW files to photographs: jobs, names, sidecars, the journal of what is done."""
