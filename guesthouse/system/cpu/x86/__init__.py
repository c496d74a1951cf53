"""x86: 64-bit mode, and of the 32-bit modes what operating systems need on their way there (Intel SDM)."""
