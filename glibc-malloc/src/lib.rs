//! One setting of glibc's allocator, and with it all the unsafe code of this repository.
//!
//! The exporter forbids unsafe code, and no variable of its own environment reaches a process that is running already.

/// Has glibc give blocks of 128 KiB and more back to the system as soon as they are freed.
///
/// Left alone, it takes each such block that goes, up to 32 MiB, as a reason to keep blocks of that size from then on,
/// in a heap for each thread. Buffers that live for one fetch or one page then stay resident several times over.
///
/// An operator's own `MALLOC_MMAP_THRESHOLD_` or `GLIBC_TUNABLES` stays in force. Without glibc nothing happens.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        /// What glibc itself begins with.
        const THRESHOLD: libc::c_int = 128 << 10;
        let is_set = |name| std::env::var_os(name).is_some();
        if is_set("MALLOC_MMAP_THRESHOLD_") || is_set("GLIBC_TUNABLES") {
            return;
        }
        // SAFETY: mallopt takes two numbers and changes nothing but the allocator's parameters, under its lock. A
        // refusal leaves them as they were.
        #[allow(unsafe_code)]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
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
        super::return_large_blocks();
        let before = resident();
        // The first one is given back in any case; it is the next that glibc would keep.
        for _ in 0..3 {
            drop(black_box(vec![1_u8; SIZE]));
        }
        let kept = resident().saturating_sub(before);
        assert!(kept < 1024, "{kept} KiB are still resident");
    }
}
