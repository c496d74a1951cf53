"""Intel's 82540EM: its registers, its EEPROM, its PCI function."""
