"""RV64GC: instructions, state, paging and traps of a RISC-V hart, as values for the engine."""
