//! The archive of a bundle: a zip file, whose content is not trusted to be harmless.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, FileReader, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipFileHeaderRecord};

/// The manifest's name in the archive.
pub const MANIFEST: &str = "manifest.json";
/// The size of the largest manifest that is read.
const MAX_MANIFEST_SIZE: u64 = 4 << 20;
/// The bits of a mode that contain the type of a file, and two of the types (inode(7)).
const TYPE_BITS: u32 = 0o170_000;
const REGULAR_FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// How much an archive may contain.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveLimits {
    /// The number of entries.
    pub entries: u64,
    /// The size of all files together, in bytes.
    pub size: u64,
}

/// The limits of bundles: those with dependencies of Node.js have tens of thousands of files.
pub const LIMITS: ArchiveLimits = ArchiveLimits { entries: 200_000, size: 4 << 30 };

/// An open archive.
pub struct Archive {
    zip: ZipArchive<FileReader>,
    limits: ArchiveLimits,
}

impl Archive {
    /// Opens an archive.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open(file: File, limits: ArchiveLimits) -> Result<Self, String> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let zip = ZipArchive::from_file(file, &mut buffer).map_err(|error| format!("not a zip archive: {error}"))?;
        Ok(Archive { zip, limits })
    }

    /// The content of the manifest.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read_manifest(&self) -> Result<Vec<u8>, String> {
        let mut manifest = None;
        self.for_each(|path, entry| {
            if path == Path::new(MANIFEST) && manifest.is_none() {
                let mut content = Vec::new();
                self.copy_content(entry, MAX_MANIFEST_SIZE, &mut content)?;
                manifest = Some(content);
            }
            Ok(())
        })?;
        manifest.ok_or_else(|| format!("there is no {MANIFEST} in it"))
    }

    /// Unpacks everything into an empty directory.
    ///
    /// # Errors
    /// Why that is not possible. What was unpacked before remains.
    pub fn unpack(&self, directory: &Path) -> Result<(), String> {
        let mut rest = self.limits.size;
        self.for_each(|path, entry| {
            let target = directory.join(path);
            let failed = |error: io::Error| format!("cannot write {}: {error}", path.display());
            if entry.is_dir() {
                return fs::create_dir_all(&target).map_err(failed);
            }
            target.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
            // A name that occurs twice is an error, also if the file system ignores case.
            let mut file = File::create_new(&target).map_err(failed)?;
            rest -= self.copy_content(entry, rest, &mut file)?;
            set_permissions(&file, entry.mode().permissions()).map_err(failed)
        })
    }

    /// Calls `visit` with each entry and its path, which is relative and does not leave the directory.
    fn for_each(
        &self,
        mut visit: impl FnMut(&Path, &ZipFileHeaderRecord<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let broken = |error: rawzip::Error| format!("the archive is damaged: {error}");
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let mut entries = self.zip.entries(&mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next_entry().map_err(broken)? {
            count += 1;
            if count > self.limits.entries {
                return Err(format!("it has more than {} files", self.limits.entries));
            }
            let name = entry.file_path();
            let path = relative_path(name.as_bytes())
                .ok_or_else(|| format!("it has a file outside of it: {}", String::from_utf8_lossy(name.as_bytes())))?;
            // Many programs write no type, and rawzip adds that of a directory to any other for a name that ends in `/`.
            let kind = entry.mode().value() & TYPE_BITS;
            if !entry.is_dir() && !matches!(kind, 0 | REGULAR_FILE | DIRECTORY) {
                return Err(format!("{} is a link or a special file", path.display()));
            }
            visit(&path, &entry)?;
        }
        match count == self.zip.entries_hint() {
            true => Ok(()),
            false => Err("the archive is damaged: its number of files is wrong".to_owned()),
        }
    }

    /// Writes the content of a file to `out`, and returns its size: `limit` at most.
    fn copy_content(&self, entry: &ZipFileHeaderRecord<'_>, limit: u64, out: &mut impl Write) -> Result<u64, String> {
        let name = || String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        let failed = |error: String| format!("cannot unpack {}: {error}", name());
        if entry.flags().is_encrypted() {
            return Err(failed("it is encrypted".to_owned()));
        }
        let data = self.zip.get_entry(entry.wayfinder()).map_err(|error| failed(error.to_string()))?;
        // A reader that was read to its end has compared the checksum.
        let copied = match entry.compression_method() {
            CompressionMethod::STORE => io::copy(&mut data.verifying_reader(data.reader()).take(limit + 1), out),
            CompressionMethod::DEFLATE => {
                let content = data.verifying_reader(DeflateDecoder::new(data.reader()));
                io::copy(&mut content.take(limit + 1), out)
            }
            method => return Err(failed(format!("its compression method {method} is not supported"))),
        };
        match copied {
            Ok(size) if size <= limit => Ok(size),
            Ok(_) => Err(failed("it is too large".to_owned())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// The path of an entry; `None` if it could be outside of the directory that it is unpacked into.
fn relative_path(name: &[u8]) -> Option<PathBuf> {
    let name = std::str::from_utf8(name).ok()?;
    let is_reserved = |c: char| c == '\0' || c == '\\' || cfg!(windows) && c == ':';
    if name.starts_with('/') || name.contains(is_reserved) {
        return None;
    }
    let parts = name.split('/').filter(|part| !part.is_empty() && *part != ".");
    let path: PathBuf = parts.map(|part| (part != "..").then_some(part)).collect::<Option<_>>()?;
    (!path.as_os_str().is_empty()).then_some(path)
}

/// A program remains a program. Nobody else may write, and the owner may always read.
#[cfg(unix)]
fn set_permissions(file: &File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o755 | 0o600))
}

#[cfg(not(unix))]
fn set_permissions(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An archive with these files, each with a mode and compressed.
    fn archive(files: &[(&str, u32, &[u8])], limits: ArchiveLimits) -> Archive {
        let mut packed = tempfile::tempfile().unwrap();
        let mut zip = rawzip::ZipArchiveWriter::new(&mut packed);
        for (name, mode, content) in files {
            let path = rawzip::path::EntryPath::verbatim(name.as_bytes());
            let entry = zip.new_file(path).compression_method(CompressionMethod::DEFLATE).unix_permissions(*mode);
            let (mut entry, config) = entry.start().unwrap();
            let mut writer =
                config.wrap(flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::default()));
            writer.write_all(content).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        zip.finish().unwrap();
        Archive::open(packed, limits).unwrap()
    }

    fn unpack(files: &[(&str, u32, &[u8])], limits: ArchiveLimits) -> Result<tempfile::TempDir, String> {
        let directory = tempfile::tempdir().unwrap();
        archive(files, limits).unpack(directory.path()).map(|()| directory)
    }

    #[test]
    fn files_are_unpacked_with_the_permissions_of_programs() {
        let files: [(&str, u32, &[u8]); 3] =
            [("manifest.json", 0o644, b"{}"), ("bin/run", 0o4777, b"run"), ("./a/./b", 0o400, b"")];
        let directory = unpack(&files, LIMITS).unwrap();
        assert_eq!(fs::read(directory.path().join("bin/run")).unwrap(), b"run");
        assert_eq!(archive(&files, LIMITS).read_manifest().unwrap(), b"{}");
        #[cfg(unix)]
        for (name, mode) in [("manifest.json", 0o644), ("bin/run", 0o755), ("a/b", 0o600)] {
            use std::os::unix::fs::PermissionsExt;
            let meta = fs::metadata(directory.path().join(name)).unwrap();
            assert_eq!(meta.permissions().mode() & 0o7777, mode, "{name}");
        }
    }

    #[test]
    fn a_directory_needs_no_type() {
        for mode in [None, Some(0o755), Some(0o040_755)] {
            let mut packed = tempfile::tempfile().unwrap();
            let mut zip = rawzip::ZipArchiveWriter::new(&mut packed);
            let entry = zip.new_dir(rawzip::path::EntryPath::verbatim(b"server/"));
            match mode {
                Some(mode) => entry.unix_permissions(mode).create(),
                None => entry.create(),
            }
            .unwrap();
            zip.finish().unwrap();
            let directory = tempfile::tempdir().unwrap();
            Archive::open(packed, LIMITS).unwrap().unpack(directory.path()).unwrap();
            assert!(directory.path().join("server").is_dir(), "{mode:?}");
        }
    }

    #[test]
    fn nothing_is_written_outside_of_the_directory() {
        for name in ["/etc/x", "../x", "a/../../x", "a\\..\\x", "a\0", "", ".", "a/.."] {
            assert!(relative_path(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(relative_path(b"\xff").is_none());
        assert_eq!(relative_path(b"a/./b..c/").unwrap(), Path::new("a/b..c"));
        assert_eq!(unpack(&[("../x", 0o644, b"")], LIMITS).unwrap_err(), "it has a file outside of it: ../x");
        assert_eq!(unpack(&[("x", 0o120_777, b"/etc")], LIMITS).unwrap_err(), "x is a link or a special file");
        let twice = unpack(&[("x", 0o644, b"1"), ("x", 0o644, b"2")], LIMITS).unwrap_err();
        assert!(twice.starts_with("cannot write x: "), "{twice}");
    }

    #[test]
    fn the_number_and_the_size_of_files_are_limited() {
        let files: [(&str, u32, &[u8]); 3] =
            [("a", 0o644, &[0; 50_000]), ("b", 0o644, &[0; 50_000]), ("manifest.json", 0o644, b"{}")];
        assert!(unpack(&files, ArchiveLimits { entries: 3, size: 100_002 }).is_ok());
        let few = unpack(&files, ArchiveLimits { entries: 2, size: 100_002 });
        assert_eq!(few.unwrap_err(), "it has more than 2 files");
        let small = unpack(&files, ArchiveLimits { entries: 3, size: 99_999 });
        assert_eq!(small.unwrap_err(), "cannot unpack b: it is too large");
    }
}
