//! Windows jobs: a child and everything it starts, ended as a whole. Windows also ends them when mcpipe ends, even if
//! it is killed.
#![expect(unsafe_code, reason = "calls of the Windows API; all handles and pointers are valid for each call")]

use std::io::{Error, Result};
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::ptr::{from_mut, from_ref, null};
use std::sync::Mutex;

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

use crate::util::lock::lock;

/// The jobs, by the ID of the process that leads each.
static JOBS: Mutex<Vec<(u32, OwnedHandle)>> = Mutex::new(Vec::new());

/// Starts a program in its own job and process group, so that Ctrl-C does not reach it.
pub fn spawn(command: &mut Command) -> Result<Child> {
    // Suspended, so that it starts nothing before it is in its job.
    let mut child = command.creation_flags(CREATE_NEW_PROCESS_GROUP | CREATE_SUSPENDED).spawn()?;
    if let (Some(leader), Some(process)) = (child.id(), child.raw_handle()) {
        // If there is no job, the child itself is still ended, with its handle.
        if let Ok(job) = job_with(process) {
            lock(&JOBS).push((leader, job));
        }
        if let Err(error) = resume(leader) {
            let _ = child.start_kill();
            return Err(error);
        }
    }
    Ok(child)
}

/// Terminates the job that this process leads.
pub fn terminate(leader: u32) -> bool {
    // SAFETY: the handle is open while the lock is held.
    with_job(leader, |job| unsafe { TerminateJobObject(job, 1) } != 0).unwrap_or(false)
}

/// Whether a process of the job is running.
pub fn is_alive(leader: u32) -> bool {
    let running = with_job(leader, |job| {
        let mut info = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        // SAFETY: the handle is open, and the type and size of `info` match the requested class.
        let done = unsafe {
            QueryInformationJobObject(
                job,
                JobObjectBasicAccountingInformation,
                from_mut(&mut info).cast(),
                size_of_val(&info) as u32,
                std::ptr::null_mut(),
            )
        };
        done != 0 && info.ActiveProcesses > 0
    });
    running.unwrap_or(false)
}

/// Closes the job, which ends the processes that still run in it.
pub fn forget(leader: u32) {
    lock(&JOBS).retain(|(other, _)| *other != leader);
}

fn with_job<T>(leader: u32, action: impl FnOnce(HANDLE) -> T) -> Option<T> {
    lock(&JOBS).iter().find(|(other, _)| *other == leader).map(|(_, job)| action(job.as_raw_handle()))
}

/// A new job with this process in it.
fn job_with(process: HANDLE) -> Result<OwnedHandle> {
    // SAFETY: both pointers may be null: a job without a name, with default rights.
    let job = owned(unsafe { CreateJobObjectW(null(), null()) })?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    // SAFETY: the handle is open, and the type and size of `limits` match the class.
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

/// Resumes a suspended process: its only thread, which has to be found first.
fn resume(process: u32) -> Result<()> {
    // SAFETY: no pointer is passed.
    let all = owned(unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) })?;
    let mut thread = THREADENTRY32 { dwSize: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    let mut resumed = false;
    // SAFETY: the handle is open, and the entry contains its own size.
    let mut more = unsafe { Thread32First(all.as_raw_handle(), from_mut(&mut thread)) };
    while more != 0 {
        if thread.th32OwnerProcessID == process {
            // SAFETY: no pointer is passed, and the handle is checked.
            let handle = owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, thread.th32ThreadID) })?;
            // SAFETY: the handle is open, with the right to resume.
            if unsafe { ResumeThread(handle.as_raw_handle()) } == u32::MAX {
                return Err(Error::last_os_error());
            }
            resumed = true;
        }
        // SAFETY: as for `Thread32First`.
        more = unsafe { Thread32Next(all.as_raw_handle(), from_mut(&mut thread)) };
    }
    if resumed { Ok(()) } else { Err(Error::other("the process has no thread")) }
}

fn owned(handle: HANDLE) -> Result<OwnedHandle> {
    if handle.is_null() || handle == INVALID_HANDLE_VALUE {
        return Err(Error::last_os_error());
    }
    // SAFETY: it has just been opened and has no other owner.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn checked(done: i32) -> Result<()> {
    if done == 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
