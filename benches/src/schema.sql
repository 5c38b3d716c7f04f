-- A database of a LAVA 2023.01 master, reduced to the tables that hold what a
-- lab is: columns, types, keys and indexes of those that are here are the real
-- ones. Columns that refer to tables that are not here hold no reference.
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET client_min_messages = warning;
BEGIN;

CREATE TABLE public.django_migrations (
    id serial NOT NULL,
    app character varying(255) NOT NULL,
    name character varying(255) NOT NULL,
    applied timestamp with time zone NOT NULL
);

CREATE TABLE public.auth_user (
    id serial NOT NULL,
    password character varying(128) NOT NULL,
    last_login timestamp with time zone,
    is_superuser boolean NOT NULL,
    username character varying(150) NOT NULL,
    first_name character varying(150) NOT NULL,
    last_name character varying(150) NOT NULL,
    email character varying(254) NOT NULL,
    is_staff boolean NOT NULL,
    is_active boolean NOT NULL,
    date_joined timestamp with time zone NOT NULL
);

CREATE TABLE public.lava_scheduler_app_devicetype (
    name character varying(50) NOT NULL,
    display boolean NOT NULL,
    architecture_id character varying(100),
    bits_id smallint,
    core_count smallint,
    cpu_model character varying(100),
    processor_id character varying(100),
    description text,
    health_denominator integer NOT NULL,
    health_frequency integer NOT NULL,
    disable_health_check boolean NOT NULL,
    CONSTRAINT lava_scheduler_app_devicetype_core_count_check CHECK ((core_count >= 0))
);

CREATE TABLE public.lava_scheduler_app_worker (
    hostname character varying(200) NOT NULL,
    description text,
    health integer NOT NULL,
    state integer NOT NULL,
    last_ping timestamp with time zone NOT NULL,
    job_limit integer NOT NULL,
    version character varying(50),
    master_version_notified character varying(50),
    token character varying(32) NOT NULL,
    CONSTRAINT lava_scheduler_app_worker_job_limit_db2e6db7_check CHECK ((job_limit >= 0))
);

CREATE TABLE public.lava_scheduler_app_device (
    hostname character varying(200) NOT NULL,
    device_version character varying(200),
    description text,
    device_type_id character varying(50) NOT NULL,
    last_health_report_job_id integer,
    physical_group_id integer,
    physical_owner_id integer,
    worker_host_id character varying(200),
    health integer NOT NULL,
    state integer NOT NULL,
    is_synced boolean NOT NULL
);

CREATE TABLE public.lava_scheduler_app_testjob (
    is_public boolean NOT NULL,
    id serial NOT NULL,
    sub_id character varying(200) NOT NULL,
    target_group character varying(64),
    description character varying(200),
    health_check boolean NOT NULL,
    submit_time timestamp with time zone NOT NULL,
    start_time timestamp with time zone,
    end_time timestamp with time zone,
    priority integer NOT NULL,
    definition text NOT NULL,
    original_definition text NOT NULL,
    multinode_definition text NOT NULL,
    failure_comment text,
    actual_device_id character varying(200),
    requested_device_type_id character varying(50),
    submitter_id integer NOT NULL,
    pipeline_compatibility integer NOT NULL,
    health integer NOT NULL,
    state integer NOT NULL,
    token character varying(32) NOT NULL,
    queue_timeout bigint
);

CREATE TABLE public.lava_results_app_testsuite (
    id serial NOT NULL,
    name character varying(200),
    job_id integer NOT NULL
);

CREATE TABLE public.lava_results_app_testcase (
    id serial NOT NULL,
    name text NOT NULL,
    units text NOT NULL,
    result smallint NOT NULL,
    measurement numeric,
    metadata character varying(4096),
    logged timestamp with time zone NOT NULL,
    suite_id integer NOT NULL,
    test_set_id integer,
    end_log_line integer,
    start_log_line integer,
    CONSTRAINT lava_results_app_testcase_end_log_line_check CHECK ((end_log_line >= 0)),
    CONSTRAINT lava_results_app_testcase_result_check CHECK ((result >= 0)),
    CONSTRAINT lava_results_app_testcase_start_log_line_check CHECK ((start_log_line >= 0))
);

