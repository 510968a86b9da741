"""Campaigns: many faults drawn, injected, recorded and counted.

`run_campaign` (runner) is the way in. `sampling` draws, `injector` injects, `columns` says what a record is,
`store` keeps records in a run directory, `processes` and `dask` spread the work, `stopping` says when it is
enough.
"""
