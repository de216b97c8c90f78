//! Jobs of Windows: a child and everything it starts, ended as a whole. What is in a job of ours also ends when we are
//! gone, however that came about.
#![expect(unsafe_code, reason = "jobs are known to the system alone; each call gets handles and memory that live")]

use std::io::{Error, Result};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr::{from_mut, from_ref, null};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::process::{Child, Command};
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicAccountingInformation,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

/// The jobs by the process that leads each.
static JOBS: Mutex<Vec<(u32, OwnedHandle)>> = Mutex::new(Vec::new());

fn jobs() -> MutexGuard<'static, Vec<(u32, OwnedHandle)>> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program in a job of its own, out of reach of the `^C` that is meant for us.
pub fn spawn(command: &mut Command) -> Result<Child> {
    // It starts nothing before it is in its job.
    let mut child = command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_SUSPENDED).spawn()?;
    if let (Some(leader), Some(process)) = (child.id(), child.raw_handle()) {
        // Where a job cannot be had, the child itself is still ended by its handle.
        if let Ok(job) = holding(process) {
            jobs().push((leader, job));
        }
        if let Err(error) = resume(leader) {
            let _ = child.start_kill();
            return Err(error);
        }
    }
    Ok(child)
}

/// Ends all that is in the job that this process leads.
pub fn terminate(leader: u32) -> bool {
    // SAFETY: the handle is ours and open while the lock is held.
    with(leader, |job| unsafe { TerminateJobObject(job, 1) } != 0).unwrap_or(false)
}

/// Whether anything in the job is running.
pub fn is_alive(leader: u32) -> bool {
    let running = with(leader, |job| {
        let mut told = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open, and what is told fits what is given for it.
        let done = unsafe {
            QueryInformationJobObject(
                job,
                JobObjectBasicAccountingInformation,
                from_mut(&mut told).cast(),
                size_of_val(&told) as u32,
                std::ptr::null_mut(),
            )
        };
        done != 0 && told.ActiveProcesses > 0
    });
    running.unwrap_or(false)
}

/// Lets go of a job; what still runs in it ends.
pub fn forget(leader: u32) {
    jobs().retain(|(other, _)| *other != leader);
}

fn with<T>(leader: u32, action: impl FnOnce(HANDLE) -> T) -> Option<T> {
    jobs().iter().find(|(other, _)| *other == leader).map(|(_, job)| action(job.as_raw_handle()))
}

/// A new job that holds this process.
fn holding(process: HANDLE) -> Result<OwnedHandle> {
    // SAFETY: a job without a name and with the usual rights needs nothing of ours.
    let job = owned(unsafe { CreateJobObjectW(null(), null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    // SAFETY: the handle is open, and the limits are of the kind and the size that are said.
    checked(unsafe {
        SetInformationJobObject(
            job.as_raw_handle(),
            JobObjectExtendedLimitInformation,
            from_ref(&limits).cast(),
            size_of_val(&limits) as u32,
        )
    })?;
    // SAFETY: both handles are open.
    checked(unsafe { AssignProcessToJobObject(job.as_raw_handle(), process) })?;
    Ok(job)
}

/// Lets the threads of a process run that was started without: there is one, and nobody tells which.
fn resume(process: u32) -> Result<()> {
    // SAFETY: nothing of ours is needed.
    let all = owned(unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) })?;
    let mut thread = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    let mut resumed = false;
    // SAFETY: the handle is open, and the entry says its own size.
    let mut more = unsafe { Thread32First(all.as_raw_handle(), from_mut(&mut thread)) };
    while more != 0 {
        if thread.th32OwnerProcessID == process {
            // SAFETY: a number is looked up, and what comes back is checked.
            let handle = owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread.th32ThreadID) })?;
            // SAFETY: the handle is open and may be used for this.
            if unsafe { ResumeThread(handle.as_raw_handle()) } == u32::MAX {
                return Err(Error::last_os_error());
            }
            resumed = true;
        }
        // SAFETY: as for the first.
        more = unsafe { Thread32Next(all.as_raw_handle(), from_mut(&mut thread)) };
    }
    if resumed { Ok(()) } else { Err(Error::other("the process has no thread")) }
}

fn owned(handle: HANDLE) -> Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(Error::last_os_error());
    }
    // SAFETY: it was opened just now, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn checked(done: i32) -> Result<()> {
    if done == 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
