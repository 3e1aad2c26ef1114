//! The flags of every command that connects to the broker, in addition to `--nats-url`: where the credentials and the
//! certificates are. They are paths, so that no secret is among the arguments or in the environment of a process.

use std::path::PathBuf;

/// The files that the flags name.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// The password of the user in the address, or a token.
    pub password: Option<PathBuf>,
    /// A JWT and the seed of its nkey.
    pub creds: Option<PathBuf>,
    /// The seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// The trusted authorities.
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// The key of the client's certificate.
    pub key: Option<PathBuf>,
}

/// Defines `NatsFlags`, whose environment variables begin with the name of the program, such as `"AGGREGATOR"`.
#[macro_export]
macro_rules! nats_flags {
    ($program:literal) => {
        /// Where the credentials and the certificates for the broker are.
        #[derive(Debug, Clone, clap::Args)]
        #[group(skip)]
        pub struct NatsFlags {
            /// File with the password of the user in --nats-url (nats://USER@HOST), or with a token if it names no user; read
            /// again at each connect
            #[arg(long, env = concat!($program, "_NATS_PASSWORD_FILE"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_password_file: Option<std::path::PathBuf>,

            /// NATS credentials file (.creds) with a JWT and its nkey seed; read again at each connect
            #[arg(long, env = concat!($program, "_NATS_CREDS"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_creds: Option<std::path::PathBuf>,

            /// File with the seed of a NATS nkey (SU…); read again at each connect
            #[arg(long, env = concat!($program, "_NATS_NKEY"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_nkey: Option<std::path::PathBuf>,

            /// PEM file with the authorities that may have issued the NATS servers' certificates, instead of those of the system;
            /// requires TLS
            #[arg(long, env = concat!($program, "_NATS_CA"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_ca: Option<std::path::PathBuf>,

            /// PEM file with the certificate that is presented to the NATS servers; requires TLS
            #[arg(long, env = concat!($program, "_NATS_CERT"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_cert: Option<std::path::PathBuf>,

            /// PEM file with the key of --nats-cert
            #[arg(long, env = concat!($program, "_NATS_KEY"), value_name = "FILE", value_parser = $crate::command_line::path())]
            nats_key: Option<std::path::PathBuf>,
        }

        impl NatsFlags {
            /// The files that they name.
            #[must_use]
            pub fn files(&self) -> $crate::connection::Files {
                let Self {
                    nats_password_file,
                    nats_creds,
                    nats_nkey,
                    nats_ca,
                    nats_cert,
                    nats_key,
                } = self.clone();
                $crate::connection::Files {
                    password: nats_password_file,
                    creds: nats_creds,
                    nkey: nats_nkey,
                    ca: nats_ca,
                    cert: nats_cert,
                    key: nats_key,
                }
            }
        }
    };
}

impl Files {
    /// The paths by flag, as they are shown to support.
    #[must_use]
    pub fn shown(&self) -> [(&'static str, String); 6] {
        let Self {
            password,
            creds,
            nkey,
            ca,
            cert,
            key,
        } = self;
        let shown = |file: &Option<PathBuf>| {
            let file = file.as_ref().map(|file| file.display().to_string());
            file.unwrap_or_default()
        };
        [
            ("--nats-password-file", shown(password)),
            ("--nats-creds", shown(creds)),
            ("--nats-nkey", shown(nkey)),
            ("--nats-ca", shown(ca)),
            ("--nats-cert", shown(cert)),
            ("--nats-key", shown(key)),
        ]
    }
}
