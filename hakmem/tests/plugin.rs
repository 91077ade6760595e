//! Loads, uses and closes a library that contains hakmem. This is a single test in its own process,
//! because a library is unloaded only when nothing else in the process holds it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(all(
    target_env = "gnu",
    not(feature = "override"), // only for executables
    not(hakmem_system)
))]

use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use std::{env, fs, thread};

const ROUNDS: usize = 200;
/// From this round on, the process must not grow. The first rounds fill caches for later reuse.
const STEADY: usize = 20;
const RESIDENT_KB_MAX: u64 = 4_000;
const ADDRESS_SPACE_KB_MAX: u64 = 100_000;

/// More than the threshold, in MiB, for the background thread to return memory while the program is
/// idle, also in a single-threaded program.
const MIB_THAT_START_THE_THREAD: usize = 80;
/// The background thread scans after a second.
const UNTIL_THE_THREAD_HAS_LOOKED: Duration = Duration::from_millis(1500);

/// The loaded library. It must not be used after [`Plugin::close`].
struct Plugin {
    handle: *mut c_void,
    work: extern "C" fn(usize) -> u64,
}

impl Plugin {
    fn load() -> Self {
        let program = env::current_exe().expect("a test has a path");
        let folder = program.parent().and_then(|deps| deps.parent());
        let path = folder
            .expect("a profile's folder")
            .join("examples/libplugin.so");
        assert!(
            path.exists(),
            "{path:?}: `cargo test` without --test builds it"
        );
        let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL in it");
        // SAFETY: the library has only the initialisers of Rust's standard library.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{:?}", error());
        // SAFETY: a handle from dlopen, and a string that ends with a NUL.
        let work = unsafe { libc::dlsym(handle, c"plugin_work".as_ptr()) };
        assert!(!work.is_null(), "{:?}", error());
        // SAFETY: the function has this type in the library.
        let work = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(usize) -> u64>(work) };
        Self { handle, work }
    }

    fn work(&self, mib: usize) {
        let live = (self.work)(mib);
        assert!(live >= (mib as u64) << 19, "{live} live bytes of {mib} MiB");
    }

    fn close(self) {
        // SAFETY: neither the handle nor a function of the library is used after this.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0, "{:?}", error());
    }
}

fn error() -> CString {
    // SAFETY: dlerror only returns the last error of this thread.
    let text = unsafe { libc::dlerror() };
    if text.is_null() {
        return CString::default();
    }
    // SAFETY: a string that ends with a NUL, copied before the next call of dlerror.
    unsafe { CStr::from_ptr(text) }.to_owned()
}

/// Returns the value of a line of /proc/self/status, in KB.
fn status_kb(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .expect("there is such a line")
        .parse()
        .expect("a number")
}

#[test]
fn a_library_on_hakmem_can_be_closed() {
    threads_that_used_it_may_exit_after_it_was_closed();
    what_it_left_behind_may_run_after_it_was_closed();
    the_process_does_not_grow_when_it_is_loaded_and_closed_again_and_again();
}

fn threads_that_used_it_may_exit_after_it_was_closed() {
    let plugin = Plugin::load();
    let (used, closed) = (Arc::new(Barrier::new(5)), Arc::new(Barrier::new(5)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (used, closed, work) = (Arc::clone(&used), Arc::clone(&closed), plugin.work);
            thread::spawn(move || {
                work(2);
                used.wait();
                closed.wait();
            })
        })
        .collect();
    used.wait();
    plugin.close();
    closed.wait();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
}

fn what_it_left_behind_may_run_after_it_was_closed() {
    let plugin = Plugin::load();
    plugin.work(MIB_THAT_START_THE_THREAD);
    plugin.close();
    thread::sleep(UNTIL_THE_THREAD_HAS_LOOKED);
}

fn the_process_does_not_grow_when_it_is_loaded_and_closed_again_and_again() {
    let mut before = (0, 0);
    for round in 0..ROUNDS {
        if round == STEADY {
            before = (status_kb("VmRSS"), status_kb("VmSize"));
        }
        let plugin = Plugin::load();
        plugin.work(1);
        plugin.close();
    }
    let resident = status_kb("VmRSS").saturating_sub(before.0);
    let address_space = status_kb("VmSize").saturating_sub(before.1);
    assert!(
        resident <= RESIDENT_KB_MAX && address_space <= ADDRESS_SPACE_KB_MAX,
        "grew by {resident} KB of resident memory and {address_space} KB of address space"
    );
}
