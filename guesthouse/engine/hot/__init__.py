"""The hot way: what a guest runs often becomes machine code of its own, made by LLVM from the same bodies."""
