-- Keys and indexes come after the rows, as in pg_dump's own order: faster, and
-- boards and jobs refer to each other.
ALTER TABLE ONLY public.auth_user
    ADD CONSTRAINT auth_user_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.auth_user
    ADD CONSTRAINT auth_user_username_key UNIQUE (username);

ALTER TABLE ONLY public.django_migrations
    ADD CONSTRAINT django_migrations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.lava_results_app_testcase
    ADD CONSTRAINT lava_results_app_testcase_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.lava_results_app_testsuite
    ADD CONSTRAINT lava_results_app_testsuite_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_device_last_health_report_job_id_key UNIQUE (last_health_report_job_id);

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_device_pkey PRIMARY KEY (hostname);

ALTER TABLE ONLY public.lava_scheduler_app_devicetype
    ADD CONSTRAINT lava_scheduler_app_devicetype_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.lava_scheduler_app_testjob
    ADD CONSTRAINT lava_scheduler_app_testjob_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.lava_scheduler_app_worker
    ADD CONSTRAINT lava_scheduler_app_worker_pkey PRIMARY KEY (hostname);

CREATE INDEX auth_user_username_6821ab7c_like ON public.auth_user USING btree (username varchar_pattern_ops);
CREATE INDEX lava_results_app_testcase_result_54f7a5a2 ON public.lava_results_app_testcase USING btree (result);
CREATE INDEX lava_results_app_testcase_suite_id_dbcc6b95 ON public.lava_results_app_testcase USING btree (suite_id);
CREATE INDEX lava_results_app_testcase_test_set_id_e0807540 ON public.lava_results_app_testcase USING btree (test_set_id);
CREATE INDEX lava_results_app_testsuite_job_id_8e4a6b57 ON public.lava_results_app_testsuite USING btree (job_id);
CREATE INDEX lava_scheduler_app_device_device_type_id_93ad0dfc ON public.lava_scheduler_app_device USING btree (device_type_id);
CREATE INDEX lava_scheduler_app_device_device_type_id_93ad0dfc_like ON public.lava_scheduler_app_device USING btree (device_type_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_device_hostname_48fa6610_like ON public.lava_scheduler_app_device USING btree (hostname varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_device_physical_group_id_f70db906 ON public.lava_scheduler_app_device USING btree (physical_group_id);
CREATE INDEX lava_scheduler_app_device_physical_owner_id_da07ece3 ON public.lava_scheduler_app_device USING btree (physical_owner_id);
CREATE INDEX lava_scheduler_app_device_worker_host_id_7500d0cc ON public.lava_scheduler_app_device USING btree (worker_host_id);
CREATE INDEX lava_scheduler_app_device_worker_host_id_7500d0cc_like ON public.lava_scheduler_app_device USING btree (worker_host_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_devicetype_architecture_id_c605a497 ON public.lava_scheduler_app_devicetype USING btree (architecture_id);
CREATE INDEX lava_scheduler_app_devicetype_architecture_id_c605a497_like ON public.lava_scheduler_app_devicetype USING btree (architecture_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_devicetype_bits_id_ed62f5ce ON public.lava_scheduler_app_devicetype USING btree (bits_id);
CREATE INDEX lava_scheduler_app_devicetype_name_976ef5c8_like ON public.lava_scheduler_app_devicetype USING btree (name varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_devicetype_processor_id_9715e792 ON public.lava_scheduler_app_devicetype USING btree (processor_id);
CREATE INDEX lava_scheduler_app_devicetype_processor_id_9715e792_like ON public.lava_scheduler_app_devicetype USING btree (processor_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_testj_health_state_requested_d_2f6264c9_idx ON public.lava_scheduler_app_testjob USING btree (health, state, requested_device_type_id);
CREATE INDEX lava_scheduler_app_testj_requested_device_type_id_438fd30d_like ON public.lava_scheduler_app_testjob USING btree (requested_device_type_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_testjob_actual_device_id_461ec38a ON public.lava_scheduler_app_testjob USING btree (actual_device_id);
CREATE INDEX lava_scheduler_app_testjob_actual_device_id_461ec38a_like ON public.lava_scheduler_app_testjob USING btree (actual_device_id varchar_pattern_ops);
CREATE INDEX lava_scheduler_app_testjob_requested_device_type_id_438fd30d ON public.lava_scheduler_app_testjob USING btree (requested_device_type_id);
CREATE INDEX lava_scheduler_app_testjob_submit_time_c8e8cb2c ON public.lava_scheduler_app_testjob USING btree (submit_time);
CREATE INDEX lava_scheduler_app_testjob_submitter_id_048c8a65 ON public.lava_scheduler_app_testjob USING btree (submitter_id);
CREATE INDEX lava_scheduler_app_worker_hostname_a524f656_like ON public.lava_scheduler_app_worker USING btree (hostname varchar_pattern_ops);

ALTER TABLE ONLY public.lava_results_app_testsuite
    ADD CONSTRAINT lava_results_app_tes_job_id_8e4a6b57_fk_lava_sche FOREIGN KEY (job_id) REFERENCES public.lava_scheduler_app_testjob(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_results_app_testcase
    ADD CONSTRAINT lava_results_app_tes_suite_id_dbcc6b95_fk_lava_resu FOREIGN KEY (suite_id) REFERENCES public.lava_results_app_testsuite(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_d_device_type_id_93ad0dfc_fk_lava_sche FOREIGN KEY (device_type_id) REFERENCES public.lava_scheduler_app_devicetype(name) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_d_last_health_report_j_34dd1c4b_fk_lava_sche FOREIGN KEY (last_health_report_job_id) REFERENCES public.lava_scheduler_app_testjob(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_d_physical_owner_id_da07ece3_fk_auth_user FOREIGN KEY (physical_owner_id) REFERENCES public.auth_user(id) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_device
    ADD CONSTRAINT lava_scheduler_app_d_worker_host_id_7500d0cc_fk_lava_sche FOREIGN KEY (worker_host_id) REFERENCES public.lava_scheduler_app_worker(hostname) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_testjob
    ADD CONSTRAINT lava_scheduler_app_t_actual_device_id_461ec38a_fk_lava_sche FOREIGN KEY (actual_device_id) REFERENCES public.lava_scheduler_app_device(hostname) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_testjob
    ADD CONSTRAINT lava_scheduler_app_t_requested_device_typ_438fd30d_fk_lava_sche FOREIGN KEY (requested_device_type_id) REFERENCES public.lava_scheduler_app_devicetype(name) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.lava_scheduler_app_testjob
    ADD CONSTRAINT lava_scheduler_app_t_submitter_id_048c8a65_fk_auth_user FOREIGN KEY (submitter_id) REFERENCES public.auth_user(id) DEFERRABLE INITIALLY DEFERRED;

COMMIT;
