//! An authority for certificates, and databases and files that have some of it.

use super::{eventually, site::connect};
use dormouse_runtime::demo::cluster::Cluster;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A private authority with its folder of files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

/// A certificate and its key, as text.
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // Each has a name of its own, as authorities do.
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", rand::random::<u64>()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, dir }
    }

    /// What whoever trusts this authority needs.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A certificate for a host, valid now.
    pub fn issue(&self, name: &str) -> Certified {
        self.sign(CertificateParams::new(vec![name.to_owned()]).expect("a name"))
    }

    /// A certificate for a role of Postgres.
    pub fn issue_for_role(&self, role: &str) -> Certified {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, role);
        self.sign(params)
    }

    /// A certificate for a host that was valid long ago.
    pub fn issue_expired(&self, name: &str) -> Certified {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Certified { certificate, key: key.serialize_pem() }
    }
}

impl Certified {
    /// Writes both files, over those that are there.
    pub fn write(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let paths = (dir.join("certificate.pem"), dir.join("key.pem"));
        fs::write(&paths.0, &self.certificate).expect("written");
        fs::write(&paths.1, &self.key).expect("written");
        paths
    }

    /// Lets a database speak TLS with this certificate, for connections from now on.
    pub async fn install(&self, cluster: &Cluster) {
        let client = connect(&cluster.url()).await;
        let data: String = client.query_one("show data_directory", &[]).await.expect("answers").get(0);
        let owner = fs::metadata(&data).expect("there");
        let (certificate, key) = self.write(Path::new(&data));
        for path in [&certificate, &key] {
            chown(path, Some(owner.uid()), Some(owner.gid())).expect("given to Postgres");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        }
        for (setting, path) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
            let sql = format!("alter system set {setting} = '{}'", path.display());
            client.batch_execute(&sql).await.expect("set");
        }
        client.batch_execute("alter system set ssl = on").await.expect("set");
        client.batch_execute("select pg_reload_conf()").await.expect("told");
        eventually("Postgres speaks TLS", async || {
            let ssl: String = connect(&cluster.url()).await.query_one("show ssl", &[]).await.expect("answers").get(0);
            ssl == "on"
        })
        .await;
    }
}
