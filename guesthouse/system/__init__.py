"""The system virtual machine: processors, memory, chips, firmware, and the boards that wire them."""
