//! Two settings of glibc's allocator, and with them all the unsafe code of this repository.
//!
//! The exporter forbids unsafe code, and no variable of its own environment reaches a process that is running already.

/// Has glibc keep little of what is freed.
///
/// Left alone, it takes each block of 128 KiB to 32 MiB that goes as a reason to keep blocks of that size from then on,
/// in as many heaps as eight for each core. Buffers that live for one fetch or one page then stay resident several times
/// over. With this, blocks of 128 KiB and more go back to the system at once, and there are two heaps for the rest.
///
/// An operator's own `MALLOC_MMAP_THRESHOLD_`, `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES` stays in force. Without glibc
/// nothing happens. To be called before there are threads.
pub fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value, variable) in [
        // What glibc itself begins with; setting it keeps it there.
        (libc::M_MMAP_THRESHOLD, 128 << 10, "MALLOC_MMAP_THRESHOLD_"),
        (libc::M_ARENA_MAX, 2, "MALLOC_ARENA_MAX"),
    ] {
        let is_set = |name| std::env::var_os(name).is_some();
        if is_set(variable) || is_set("GLIBC_TUNABLES") {
            continue;
        }
        // SAFETY: mallopt takes two numbers and changes nothing but the allocator's parameters, under its lock. A
        // refusal leaves them as they were.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(parameter, value);
        }
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::hint::black_box;

    /// Unit: KiB.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.unwrap().parse().unwrap()
    }

    #[test]
    fn large_blocks_are_no_longer_resident_once_they_are_freed() {
        const SIZE: usize = 8 << 20;
        super::keep_little();
        let before = resident();
        // The first one is given back in any case; it is the next that glibc would keep.
        for _ in 0..3 {
            drop(black_box(vec![1_u8; SIZE]));
        }
        let kept = resident().saturating_sub(before);
        assert!(kept < 1024, "{kept} KiB are still resident");
    }
}
