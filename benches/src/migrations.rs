//! The migrations of LAVA 2023.01 as Debian 12 ships and applies them.

/// The migrations of one Django app.
#[derive(Debug)]
pub struct App {
    /// Its name in `django_migrations`.
    pub label: &'static str,
    /// Its folder below `/usr/lib/python3/dist-packages`.
    pub folder: &'static str,
    /// The Debian package that ships it.
    pub package: &'static str,
    /// Its migrations, in their own order.
    pub names: &'static [&'static str],
}

/// Number of migrations in all: rows of `django_migrations` and files.
pub const COUNT: usize = 98;

/// A migration of an app by its label.
pub type Row = (&'static str, &'static str);

/// All in the order in which a new 2023.01 master applies them, which is the
/// order of its rows in `django_migrations`.
pub fn applied() -> impl Iterator<Item = Row> {
    // Apps depend on each other's migrations, so an app's are not all in a row.
    const RUNS: [(&str, std::ops::Range<usize>); 12] = [
        ("contenttypes", 0..1),
        ("auth", 0..1),
        ("admin", 0..3),
        ("contenttypes", 1..2),
        ("auth", 1..12),
        ("authtoken", 0..3),
        ("linaro_django_xmlrpc", 0..1),
        ("lava_scheduler_app", 0..5),
        ("lava_results_app", 0..18),
        ("lava_scheduler_app", 5..56),
        ("sessions", 0..1),
        ("sites", 0..2),
    ];
    RUNS.into_iter().flat_map(|(label, run)| {
        APPS.iter()
            .filter(move |app| app.label == label)
            .flat_map(move |app| {
                app.names[run.clone()]
                    .iter()
                    .map(move |name| (app.label, *name))
            })
    })
}

/// Every file of an app's migrations folder, with its text: the migrations as
/// empty operations that depend on each other, and `__init__.py`.
pub fn files(app: &App) -> impl Iterator<Item = (String, String)> + '_ {
    let init = (
        format!(
            "usr/lib/python3/dist-packages/{}/migrations/__init__.py",
            app.folder
        ),
        String::new(),
    );
    let before = std::iter::once(None).chain(app.names.iter().map(Some));
    std::iter::once(init).chain(app.names.iter().zip(before).map(|(name, before)| {
        let needs = before
            .map(|before| format!("(\"{}\", \"{before}\")", app.label))
            .unwrap_or_default();
        let path = format!(
            "usr/lib/python3/dist-packages/{}/migrations/{name}.py",
            app.folder
        );
        let text = format!(
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n\n    \
             dependencies = [{needs}]\n\n    operations = []\n"
        );
        (path, text)
    }))
}

/// The apps that LAVA has installed and that have migrations.
pub const APPS: [App; 9] = [
    App {
        label: "lava_scheduler_app",
        folder: "lava_scheduler_app",
        package: "lava-server",
        names: &[
            "0001_initial",
            "0002_add_lava-health_user",
            "0003_populate_master_node",
            "0004_add_pipeline_marks",
            "0005_auto_devicedictionarytable_pipelinestore",
            "0006_auto_20150619_1035",
            "0007_devicetype_description",
            "0008_auto_20151014_1044",
            "0009_testjob_pipeline_compatibility",
            "0010_auto_20151103_1136",
            "0011_remove_testjob_log_file",
            "0012_auto_20160208_1600",
            "0013_auto_20160302_0404",
            "0014_add_testjob_index",
            "0015_drop_heartbeat",
            "0016_index_testjob_submit_time",
            "0017_custompermissions",
            "0018_notifications",
            "0019_extendeduser",
            "0020_notificationrecipient_uniquetogether",
            "0021_blacklist_to_array",
            "0022_create_devicetype_alias",
            "0023_update_aliases",
            "0024_do_not_cascade_deletions",
            "0025_switch_job_status_trigger_type",
            "0026_devicetype_disable_health_check",
            "0027_device_dict_onto_filesystem",
            "0028_notify_callback",
            "0029_remove_testjob__results_bundle",
            "0030_unused_scheduler_fields",
            "0031_add_worker_state_and_health",
            "0032_add_state_health_to_testjob_and_device",
            "0033_remove_old_status_fields",
            "0034_worker_last_ping",
            "0035_remove_testjob__results_link",
            "0036_remove_is_pipeline",
            "0037_notify_callback_separation",
            "0038_set_default_device_health_maintenance",
            "0039_remove_testjob_admin_notifications",
            "0040_change_device_type_alias",
            "0041_notification_charfield_to_textfield",
            "0042_add-table-length-setting",
            "0043_auth_refactoring",
            "0044_reintroduce_cancel_resubmit_permission",
            "0045_remove_submit_testjob_perm",
            "0046_permission_consolidation",
            "0047_job_limit",
            "0048_job_limit_constraint",
            "0049_add_worker_auth",
            "0050_worker_version",
            "0051_worker_master_version_notified",
            "0052_device_is_synced",
            "0053_testjob_and_worker_token",
            "0054_remoteartifactsauth",
            "0055_notificationcallback_header",
            "0056_testjob_queue_timeout",
        ],
    },
    App {
        label: "lava_results_app",
        folder: "lava_results_app",
        package: "lava-server",
        names: &[
            "0001_initial",
            "0002_auto_20150825_1926",
            "0003_auto_20150908_1522",
            "0004_auto_20150925_0002",
            "0005_auto_20151124_1419",
            "0006_auto_20160111_1318",
            "0007_auto_20160225_1256",
            "0008_auto_20160405_1543",
            "0009_query_limit",
            "0010_auto_20160504_0814",
            "0011_namedtestattribute",
            "0012_namedtestattribute_metadata",
            "0013_buglinks",
            "0014_xaxis_maxlength_increase",
            "0015_add_test_case_result_index",
            "0016_add_testcase_start_end_tc",
            "0017_testdata_onetoone_field",
            "0018_drop_buglink",
        ],
    },
    App {
        label: "linaro_django_xmlrpc",
        folder: "linaro_django_xmlrpc",
        package: "lava-server",
        names: &["0001_initial"],
    },
    App {
        label: "admin",
        folder: "django/contrib/admin",
        package: "python3-django",
        names: &[
            "0001_initial",
            "0002_logentry_remove_auto_add",
            "0003_logentry_add_action_flag_choices",
        ],
    },
    App {
        label: "auth",
        folder: "django/contrib/auth",
        package: "python3-django",
        names: &[
            "0001_initial",
            "0002_alter_permission_name_max_length",
            "0003_alter_user_email_max_length",
            "0004_alter_user_username_opts",
            "0005_alter_user_last_login_null",
            "0006_require_contenttypes_0002",
            "0007_alter_validators_add_error_messages",
            "0008_alter_user_username_max_length",
            "0009_alter_user_last_name_max_length",
            "0010_alter_group_name_max_length",
            "0011_update_proxy_permissions",
            "0012_alter_user_first_name_max_length",
        ],
    },
    App {
        label: "contenttypes",
        folder: "django/contrib/contenttypes",
        package: "python3-django",
        names: &["0001_initial", "0002_remove_content_type_name"],
    },
    App {
        label: "sessions",
        folder: "django/contrib/sessions",
        package: "python3-django",
        names: &["0001_initial"],
    },
    App {
        label: "sites",
        folder: "django/contrib/sites",
        package: "python3-django",
        names: &["0001_initial", "0002_alter_domain_unique"],
    },
    App {
        label: "authtoken",
        folder: "rest_framework/authtoken",
        package: "python3-djangorestframework",
        names: &["0001_initial", "0002_auto_20160226_1747", "0003_tokenproxy"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn files_and_rows_are_the_same_98() {
        let rows: Vec<Row> = applied().collect();
        assert_eq!(rows.len(), COUNT);
        let rows: BTreeSet<String> = rows
            .iter()
            .map(|(app, name)| format!("{app}.{name}"))
            .collect();
        let shipped: BTreeSet<String> = APPS
            .iter()
            .flat_map(|app| {
                files(app).filter_map(move |(path, _)| {
                    let name = path.rsplit('/').next()?.strip_suffix(".py")?;
                    (name != "__init__").then(|| format!("{}.{name}", app.label))
                })
            })
            .collect();
        assert_eq!(rows, shipped);
        assert_eq!(rows.len(), COUNT);
    }

    #[test]
    fn the_newest_are_those_measured_on_a_real_master() {
        let last = |label| {
            APPS.iter()
                .find(|app| app.label == label)
                .and_then(|app| app.names.last())
        };
        assert_eq!(
            last("lava_scheduler_app"),
            Some(&"0056_testjob_queue_timeout")
        );
        assert_eq!(last("lava_results_app"), Some(&"0018_drop_buglink"));
        assert_eq!(
            applied().last(),
            Some(("sites", "0002_alter_domain_unique"))
        );
    }
}
