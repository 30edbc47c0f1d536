"""Run LoRA code on the CPU and compare what it does with a float64 reference.

The parts, in the order in which data passes through them:

`run` (parent, imports no torch) picks a driver, starts `child` in its own process and reads its events;
`child` imports the target through a driver of `drivers`, `scenarios` says what is asked, `examination` asks
it, `reference` judges the answer, `report` shows it. `protocol` is all that the core knows of a driver.
"""
