"""Numbers of the privileged architecture: causes of traps, privilege modes, interrupt bits, fields of
mstatus.

The book is Volume II, Privileged Architecture (20240411); table 3.1.15 has the causes.
"""

MISALIGNED_FETCH, FETCH_ACCESS, ILLEGAL, BREAKPOINT = range(4)
MISALIGNED_LOAD, LOAD_ACCESS, MISALIGNED_STORE, STORE_ACCESS = range(4, 8)
CALL_FROM_U, CALL_FROM_S, CALL_FROM_M = 8, 9, 11
FETCH_PAGE, LOAD_PAGE, STORE_PAGE = 12, 13, 15
INTERRUPT = 1 << 63

USER, SUPERVISOR, MACHINE = 0, 1, 3

SSIP, MSIP, STIP, MTIP, SEIP, MEIP = (1 << n for n in (1, 3, 5, 7, 9, 11))
SUPERVISOR_INTERRUPTS = SSIP | STIP | SEIP
ORDER = (11, 3, 7, 9, 1, 5)  # 3.1.9: of several pending interrupts the first of these is taken

# Fields of mstatus (3.1.6).
SIE, MIE, SPIE, MPIE, SPP = 1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8
MPP, FS, MPRV, SUM, MXR = 3 << 11, 3 << 13, 1 << 17, 1 << 18, 1 << 19
TVM, TW, TSR, SD = 1 << 20, 1 << 21, 1 << 22, 1 << 63
UXL, SXL = 2 << 32, 2 << 34  # both 64 bits, for good

# Fields of menvcfg (3.1.18) and senvcfg.
FIOM, CBIE, CBCFE, CBZE, STCE = 1, 3 << 4, 1 << 6, 1 << 7, 1 << 63
