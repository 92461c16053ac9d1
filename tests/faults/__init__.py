"""The proof that no handoff is lost and none is doubled: faults at every boundary, kills, outages, mutants."""
