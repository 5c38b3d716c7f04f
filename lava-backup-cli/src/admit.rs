//! Who reaches LAVA while it is restored.

use std::fs;
use std::io::Write;
use std::path::Path;

use lava_restore_plan::release::WORKER_API;
use lava_restore_plan::step::WORKERS_ONLY;
use schemars::JsonSchema;
use serde::Serialize;

use crate::answer::Answer;
use crate::args::{AdmitArgs, Admitted};
use crate::exit::{CouldNot, Exit, Failure};

const CONFIGURATIONS: &str = "/etc/apache2/conf-available";

/// A configuration of apache's that was written, and is not in service yet.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Admission {
    /// Its name, as `a2enconf` takes it.
    pub(crate) name: &'static str,
    /// Its file.
    pub(crate) path: String,
}

pub(crate) fn admit(args: &AdmitArgs) -> Result<Answer, Failure> {
    let Admitted::Workers = args.whom;
    let directory = Path::new(CONFIGURATIONS);
    let path = directory.join(format!("{WORKERS_ONLY}.conf"));
    let shown = path.display();
    let text = workers_only();
    match fs::read_to_string(&path) {
        Ok(there) if there == text => {}
        Ok(_) => {
            let what = format!("could not write {shown}: another file has that name");
            return Err(Failure::new(Exit::Refused, what).hint("look at it, and move it away"));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            write(directory, &path, &text).could_not(format!("write {shown}"))?;
        }
        Err(e) => return Err(e).could_not(format!("read {shown}")),
    }
    let admission = Admission {
        name: WORKERS_ONLY,
        path: path.to_string_lossy().into_owned(),
    };
    let text = format!(
        "written  {}\nnext     a2enconf {WORKERS_ONLY}, then reload apache2\n",
        admission.path
    );
    Ok(Answer::new(Exit::Done, &admission, text))
}

/// Whole or not at all.
fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".lava-backup-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(directory)?.sync_all()
}

/// A location is held against what is asked for whatever the site, its port and its protocol, and
/// after all directories.
fn workers_only() -> String {
    format!(
        "# Written by lava-backup: while a lab is restored its workers reach LAVA, and users do not.\n\
         # `a2disconf {WORKERS_ONLY}` lets users in.\n\
         <Location \"/\">\n    Require all denied\n</Location>\n\
         <Location \"{WORKER_API}\">\n    Require all granted\n</Location>\n"
    )
}
