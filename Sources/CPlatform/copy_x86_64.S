// SPDX-License-Identifier: Apache-2.0
//
// pgw_loaded pgw_load_checked_1, _2, _4, _8(const void *source /*rdi*/)
// size_t pgw_copy_checked(void *destination /*rdi*/, const void *source /*rsi*/, size_t count /*rdx*/)
// pgw_proved_copy pgw_copy_proving(the same): missing in rax, has_zero in rdx
//
// Invariant between pgw_copy_begin and pgw_copy_end: no stack use, and rdx (rcx in the string move) is the number of
// bytes not yet copied. So the fault handler needs only to set the program counter to a landing pad:
//   [pgw_copy_begin, pgw_copy_string)  -> pgw_copy_landing         returns rdx
//   [pgw_copy_string, pgw_copy_end)    -> pgw_copy_landing_string  returns rcx
//   [pgw_wide_begin, pgw_wide_end)     -> pgw_wide_landing         returns rdx, with the upper halves of ymm cleared
// The loads give the value in rax and what is missing in rdx:
//   [pgw_load_begin, pgw_load_end)     -> pgw_load_landing         returns 0 and 1
// Loads go forwards: a copy that sees the zeros behind a cut also meets the lost pages that follow.

#if defined(__x86_64__)

#if defined(__APPLE__)
#define NAME(x) _##x
#define HIDDEN(x) .private_extern NAME(x)
#else
#define NAME(x) x
#define HIDDEN(x) .hidden NAME(x)
#endif

    .text
    .p2align 6
    .globl NAME(pgw_copy_checked)
    .globl NAME(pgw_copy_proving_narrow)
    HIDDEN(pgw_copy_proving_narrow)
    .globl NAME(pgw_load_checked_1)
    .globl NAME(pgw_load_checked_2)
    .globl NAME(pgw_load_checked_4)
    .globl NAME(pgw_load_checked_8)
    .globl NAME(pgw_load_begin)
    HIDDEN(pgw_load_begin)
    .globl NAME(pgw_load_end)
    HIDDEN(pgw_load_end)
    .globl NAME(pgw_load_landing)
    HIDDEN(pgw_load_landing)
    .globl NAME(pgw_copy_proving_wide)
    HIDDEN(pgw_copy_proving_wide)
    .globl NAME(pgw_wide_begin)
    HIDDEN(pgw_wide_begin)
    .globl NAME(pgw_wide_end)
    HIDDEN(pgw_wide_end)
    .globl NAME(pgw_wide_landing)
    HIDDEN(pgw_wide_landing)
    .globl NAME(pgw_copy_begin)
    HIDDEN(pgw_copy_begin)
    .globl NAME(pgw_copy_string)
    HIDDEN(pgw_copy_string)
    .globl NAME(pgw_copy_end)
    HIDDEN(pgw_copy_end)
    .globl NAME(pgw_copy_landing)
    HIDDEN(pgw_copy_landing)
    .globl NAME(pgw_copy_landing_string)
    HIDDEN(pgw_copy_landing_string)
#if !defined(__APPLE__)
    .type pgw_copy_checked, @function
    .type pgw_copy_proving_narrow, @function
#endif

    .p2align 6
NAME(pgw_load_begin):
NAME(pgw_load_checked_8):
    .cfi_startproc
    movq (%rdi), %rax
    xorl %edx, %edx
    retq
    .p2align 4
NAME(pgw_load_checked_4):
    movl (%rdi), %eax
    xorl %edx, %edx
    retq
    .p2align 4
NAME(pgw_load_checked_2):
    movzwl (%rdi), %eax
    xorl %edx, %edx
    retq
    .p2align 4
NAME(pgw_load_checked_1):
    movzbl (%rdi), %eax
    xorl %edx, %edx
    retq
NAME(pgw_load_end):
NAME(pgw_load_landing):
    xorl %eax, %eax
    movl $1, %edx
    retq
    .cfi_endproc

    .p2align 6
// pgw_copy_proving on a processor with AVX2, for at least 64 bytes; it ends in the narrow one.
NAME(pgw_copy_proving_wide):
    .cfi_startproc
    vpcmpeqd %ymm2, %ymm2, %ymm2
NAME(pgw_wide_begin):
1:  vmovdqu (%rsi), %ymm0
    vmovdqu 32(%rsi), %ymm1
    vmovdqu %ymm0, (%rdi)
    vmovdqu %ymm1, 32(%rdi)
    vpminub %ymm0, %ymm2, %ymm2
    vpminub %ymm1, %ymm2, %ymm2
    addq $64, %rsi
    addq $64, %rdi
    subq $64, %rdx
    cmpq $64, %rdx
    jae 1b
NAME(pgw_wide_end):
    vextracti128 $1, %ymm2, %xmm0
    vpminub %xmm0, %xmm2, %xmm2
    vzeroupper
    cmpq $32, %rdx
    jmp 10f
NAME(pgw_wide_landing):
    vzeroupper
    movq %rdx, %rax
    retq
    .cfi_endproc

    .p2align 6
// xmm2 gathers the smallest value of each byte lane; a zero in it at the end is a zero somewhere in the copy.
NAME(pgw_copy_proving_narrow):
NAME(pgw_copy_begin):
    .cfi_startproc
    pcmpeqd %xmm2, %xmm2
    cmpq $32, %rdx
10:
    jb 2f
1:  movups (%rsi), %xmm0
    movups 16(%rsi), %xmm1
    movups %xmm0, (%rdi)
    movups %xmm1, 16(%rdi)
    pminub %xmm0, %xmm2
    pminub %xmm1, %xmm2
    addq $32, %rsi
    addq $32, %rdi
    subq $32, %rdx
    cmpq $32, %rdx
    jae 1b
2:  testq %rdx, %rdx
    jz 7f
    testq $16, %rdx
    jz 4f
    movups (%rsi), %xmm0
    movups %xmm0, (%rdi)
    pminub %xmm0, %xmm2
    addq $16, %rsi
    addq $16, %rdi
    subq $16, %rdx
4:  testq $8, %rdx
    jz 5f
    movq (%rsi), %rax
    movq %rax, (%rdi)
    movq %rax, %xmm0
    punpcklqdq %xmm0, %xmm0
    pminub %xmm0, %xmm2
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
5:  testq $4, %rdx
    jz 6f
    movl (%rsi), %eax
    movl %eax, (%rdi)
    movd %eax, %xmm0
    pshufd $0, %xmm0, %xmm0
    pminub %xmm0, %xmm2
    addq $4, %rsi
    addq $4, %rdi
    subq $4, %rdx
6:  testq %rdx, %rdx
    jz 7f
    movzbl (%rsi), %eax
    movb %al, (%rdi)
    imull $0x01010101, %eax, %eax
    movd %eax, %xmm0
    pshufd $0, %xmm0, %xmm0
    pminub %xmm0, %xmm2
    incq %rsi
    incq %rdi
    decq %rdx
    jmp 6b
7:  pxor %xmm0, %xmm0
    pcmpeqb %xmm2, %xmm0
    pmovmskb %xmm0, %edx
    xorl %eax, %eax
    retq
    .cfi_endproc

    .p2align 6
NAME(pgw_copy_checked):
    .cfi_startproc
    cmpq $8, %rdx
    je 8f
    cmpq $32, %rdx
    jb 3f
    cmpq $2048, %rdx
    jae 9f
1:  movups (%rsi), %xmm0
    movups 16(%rsi), %xmm1
    movups %xmm0, (%rdi)
    movups %xmm1, 16(%rdi)
    addq $32, %rsi
    addq $32, %rdi
    subq $32, %rdx
    cmpq $32, %rdx
    jae 1b
    testq %rdx, %rdx
    jz 7f
3:  testq $16, %rdx
    jz 4f
    movups (%rsi), %xmm0
    movups %xmm0, (%rdi)
    addq $16, %rsi
    addq $16, %rdi
    subq $16, %rdx
4:  testq $8, %rdx
    jz 5f
8:  movq (%rsi), %rax
    movq %rax, (%rdi)
    addq $8, %rsi
    addq $8, %rdi
    subq $8, %rdx
    jz 7f
5:  testq $4, %rdx
    jz 6f
    movl (%rsi), %eax
    movl %eax, (%rdi)
    addq $4, %rsi
    addq $4, %rdi
    subq $4, %rdx
6:  testq %rdx, %rdx
    jz 7f
    movb (%rsi), %al
    movb %al, (%rdi)
    incq %rsi
    incq %rdi
    decq %rdx
    jmp 6b
7:  xorl %eax, %eax
    retq
9:  movq %rdx, %rcx
    cld
NAME(pgw_copy_string):
    rep movsb
    xorl %eax, %eax
    retq
NAME(pgw_copy_end):
NAME(pgw_copy_landing):
    movq %rdx, %rax
    retq
NAME(pgw_copy_landing_string):
    movq %rcx, %rax
    retq
    .cfi_endproc
#if !defined(__APPLE__)
    .size pgw_copy_proving_narrow, NAME(pgw_copy_checked)-NAME(pgw_copy_proving_narrow)
    .size pgw_copy_checked, .-pgw_copy_checked
    .section .note.GNU-stack,"",@progbits
#endif

#endif
