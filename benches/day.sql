-- A day of a lab at work, for psql with the variable `part`: a fifth of the jobs
-- that come. They are like those that ended last; ten at a time come, run beside
-- each other and end, and each row is written as often as LAVA writes it, so that
-- rows lie where a lab's do. Between the parts the server clears up.
set client_min_messages = warning;
create procedure pg_temp.live(jobs integer) language plpgsql as $$
declare
    columns text;
    values text;
    model integer[];
    job integer;
    suite integer;
    new text;
begin
    select string_agg(quote_ident(column_name), ', ' order by ordinal_position),
           string_agg(case when column_name = 'id' then '$2'
                           when column_name in ('state', 'health') then '0'
                           when column_name = 'submit_time' then 'now()'
                           when column_name in ('start_time', 'end_time', 'actual_device_id') then 'null'
                           else quote_ident(column_name) end, ', ' order by ordinal_position)
        into columns, values from information_schema.columns where table_name = 'lava_scheduler_app_testjob';
    new := format('insert into lava_scheduler_app_testjob (%s) select %s from lava_scheduler_app_testjob where id = $1', columns, values);
    for batch in 1 .. (jobs + 9) / 10 loop
        select array_agg(id) into model from (
            select id from lava_scheduler_app_testjob where state = 5 order by id desc offset (batch * 37) % 500 limit 10
        ) ended;
        select max(id) into job from lava_scheduler_app_testjob;
        select max(id) into suite from lava_results_app_testsuite;
        for i in 1 .. 10 loop
            execute new using model[i], job + i;
        end loop;
        commit;
        -- Scheduled, then running.
        for stage in 1 .. 2 loop
            update lava_scheduler_app_testjob j
                set state = stage + 1, actual_device_id = m.actual_device_id, start_time = case stage when 2 then now() end
                from generate_series(1, 10) i join lava_scheduler_app_testjob m on m.id = model[i] where j.id = job + i;
            update lava_scheduler_app_device d set state = stage
                from lava_scheduler_app_testjob j where j.id > job and j.actual_device_id = d.hostname;
            commit;
        end loop;
        create temp table suites on commit drop as
            select s.id as model, suite + (row_number() over (order by s.id))::integer as id, s.name, job + i as job_id
            from generate_series(1, 10) i join lava_results_app_testsuite s on s.job_id = model[i];
        insert into lava_results_app_testsuite (id, name, job_id) select id, name, job_id from suites;
        -- Results of jobs that run beside each other come mixed.
        insert into lava_results_app_testcase
                (id, name, units, result, measurement, metadata, logged, suite_id, test_set_id, end_log_line, start_log_line)
            select last + row_number() over (order by place, suite_id), name, units, result, measurement, metadata, now(),
                    suite_id, test_set_id, end_log_line, start_log_line
            from (select c.name, units, result, measurement, metadata, s.id as suite_id, test_set_id, end_log_line,
                        start_log_line, row_number() over (partition by s.job_id order by c.id) as place
                  from lava_results_app_testcase c join suites s on s.model = c.suite_id) cases,
                 (select max(id) as last from lava_results_app_testcase) before
            order by 1;
        update lava_scheduler_app_testjob j
            set state = 5, health = m.health, end_time = now(), failure_comment = m.failure_comment
            from generate_series(1, 10) i join lava_scheduler_app_testjob m on m.id = model[i] where j.id = job + i;
        update lava_scheduler_app_device d set state = 0
            from lava_scheduler_app_testjob j where j.id > job and j.actual_device_id = d.hostname;
        update lava_scheduler_app_worker set last_ping = now();
        commit;
    end loop;
end $$;
call pg_temp.live(:part); vacuum;
call pg_temp.live(:part); vacuum;
call pg_temp.live(:part); vacuum;
call pg_temp.live(:part); vacuum;
call pg_temp.live(:part); vacuum;
select setval('lava_scheduler_app_testjob_id_seq', (select max(id) from lava_scheduler_app_testjob)),
    setval('lava_results_app_testsuite_id_seq', (select max(id) from lava_results_app_testsuite)),
    setval('lava_results_app_testcase_id_seq', (select max(id) from lava_results_app_testcase));
