//! The commands that bring exact packages back.

use super::*;

/// How to bring the packages of a backup back. Commands are lists of words, to
/// be run in order as root, none through a shell.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct InstallPlan {
    /// The backup.
    pub(crate) backup: String,
    /// The digest of its seal.
    pub(crate) digest: String,
    /// What it has .debs of: `critical` or `closure`.
    pub(crate) scope: String,
    /// The Debian release of its host; no other can take these packages.
    pub(crate) suite: Option<String>,
    /// The architecture of its host.
    pub(crate) architecture: String,
    /// Packages that are brought back in their exact version.
    pub(crate) packages: u64,
    /// Is the repository apt's only source? Otherwise what it lacks comes from
    /// those that the target has.
    pub(crate) alone: bool,
    /// .debs that the backup lacks.
    pub(crate) lacking: Vec<debs::LackingDeb>,
    /// Files that must be there before the steps.
    pub(crate) files: Vec<PlanFile>,
    /// The steps, in order.
    pub(crate) steps: Vec<PlanStep>,
    /// Members of the backup with the sources, pins and keys of the host's apt,
    /// which the last step puts back.
    pub(crate) sources: Vec<String>,
}

/// A file to write.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlanFile {
    /// Where.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
}

/// One command.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PlanStep {
    /// A stable name for it.
    pub(crate) id: String,
    /// What it is for.
    pub(crate) why: String,
    /// The command and its arguments.
    pub(crate) argv: Vec<String>,
}

pub(super) fn install_plan(args: &InstallPlanArgs) -> Result<Answer, Failure> {
    let backup = backup_facts::open(&args.backup)?;
    let document = need_debs(&backup)?;
    let facts = backup_facts::facts(&backup)?;
    let native = document.architectures.first().cloned().unwrap_or_default();
    let marks: BTreeMap<(&str, &str), (bool, bool)> = facts
        .packages
        .iter()
        .map(|p| ((p.name.as_str(), p.architecture.as_str()), (p.auto, p.hold)))
        .collect();
    let packages: Vec<ExactPackage> = document
        .debs
        .iter()
        .map(|deb| {
            let key = (deb.package.as_str(), deb.architecture.as_str());
            let (auto, hold) = marks.get(&key).copied().unwrap_or_default();
            Ok(ExactPackage {
                name: deb.package.clone(),
                version: deb.version.parse()?,
                architecture: deb.architecture.clone(),
                auto,
                hold,
            })
        })
        .collect::<Result<_, lava_backup_debian::Error>>()?;
    let alone = document.closed == Some(true);
    let reinstall = Reinstall {
        packages: &packages,
        native: &native,
        repository: &args.repository,
        keyring: args.keyring.as_deref(),
        alone,
    };
    let files = reinstall
        .files()
        .could_not("write the source of the packages")?;
    let mut sources = Vec::new();
    let apt: MemberPath = format!("{}/etc/apt", paths::CONFIG).parse()?;
    for entry in backup.entries_below(&apt)? {
        let entry = entry?;
        if entry.kind != Kind::Dir {
            sources.push(entry.path.to_string());
        }
    }
    let steps = steps(&reinstall, &backup, &sources, &apt);
    let plan = InstallPlan {
        backup: backup.id().to_string(),
        digest: backup.digest().to_owned(),
        suite: facts.suite.base.as_ref().map(ToString::to_string),
        architecture: native.clone(),
        packages: packages.len() as u64,
        alone,
        files: files
            .iter()
            .map(|file| PlanFile {
                path: file.path.to_string_lossy().into_owned(),
                text: file.text.clone(),
            })
            .collect(),
        steps,
        sources,
        scope: document.scope.clone(),
        lacking: document.lacking.clone(),
    };
    let exit = match document.is_complete() {
        true => Exit::Done,
        false => Exit::Damaged,
    };
    let script = plan.script(&args.repository);
    Ok(Answer::new(exit, &plan, script))
}

fn steps(
    reinstall: &Reinstall<'_>,
    backup: &Backup,
    sources: &[String],
    apt: &MemberPath,
) -> Vec<PlanStep> {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut steps = Vec::new();
    let mut add = |id: &str, why: &str, argv: Vec<String>| {
        steps.push(PlanStep {
            id: id.into(),
            why: why.into(),
            argv,
        });
    };
    if reinstall.alone {
        let lists = reinstall.repository.join("apt/lists/partial");
        let lists = lists.to_string_lossy();
        add(
            "lists",
            "room for lists of its own, so that none of the target's is mistaken for them",
            words(&["mkdir", "-p", &lists]),
        );
    }
    for (id, argv) in ["own-sources", "own-pins"].iter().zip(reinstall.borrow()) {
        add(
            id,
            "what the repository lacks comes from where the target has its own",
            argv,
        );
    }
    add(
        "update",
        "reads the index of the repository",
        reinstall.update(),
    );
    add(
        "install",
        "brings every package to its exact version, downgrades where it must, removes \
        none, and leaves configuration as it is",
        reinstall.install(),
    );
    if let Some(argv) = reinstall.mark_auto() {
        add(
            "mark-auto",
            "what apt had installed for others may go with them again",
            argv,
        );
    }
    if let Some(argv) = reinstall.mark_manual() {
        add("mark-manual", "what was asked for stays", argv);
    }
    if let Some(argv) = reinstall.hold() {
        add("hold", "what was held is held", argv);
    }
    if !sources.is_empty() {
        let id = backup.id().to_string();
        add(
            "sources",
            "puts the sources, pins and keys of the backup's host back; replaced files are kept",
            words(&[
                "lava-backup",
                "extract",
                "--root",
                "/",
                "--replace",
                &id,
                &apt.to_string(),
            ]),
        );
    }
    steps
}

impl InstallPlan {
    /// The same as a script.
    fn script(&self, repository: &Path) -> String {
        let repository = quote(&repository.to_string_lossy());
        let mut out = format!(
            "#!/bin/sh\n# Brings {} of the backup {} back, on Debian {}, as root.\n",
            text::count(self.packages, "package"),
            self.backup,
            self.suite.as_deref().unwrap_or("of the same release"),
        );
        for lacking in &self.lacking {
            // A line of a comment ends with the line.
            let why = lacking.why.replace(char::is_control, " ");
            out += &format!("# LACKS {} {}: {why}\n", lacking.package, lacking.version);
        }
        out += &format!(
            "# First, with the store at hand:\n#   lava-backup packages repo {} --to {repository}\n\
             set -eu\ntest -e {repository}/Packages\n",
            self.backup
        );
        for file in &self.files {
            let path = Path::new(&file.path);
            let parent = path.parent().unwrap_or(Path::new("/")).to_string_lossy();
            out += &format!(
                "mkdir -p {}\nprintf %s {} >{}\n",
                quote(&parent),
                quote(&file.text),
                quote(&file.path)
            );
        }
        for step in &self.steps {
            let words: Vec<String> = step.argv.iter().map(|word| quote(word)).collect();
            out += &format!("\n# {}: {}\n{}\n", step.id, step.why, words.join(" "));
        }
        out
    }
}

/// A word as sh takes it.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.,+:=@%~".contains(&b);
    match !word.is_empty() && !word.starts_with('~') && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
