"""Makes the stand-ins in this folder importable from the tests in the folders below, whichever of them are run."""
