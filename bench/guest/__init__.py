"""What runs inside the guest: programs in typed Python, compiled by LLVM to static executables for three machines."""
